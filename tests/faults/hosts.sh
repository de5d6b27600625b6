# hosts.sh - a run over two hosts with a network between them, one of which dies: a clear end, and the run can
# be gone on with. The hosts are network namespaces of this machine.
set -eu
for program in ip nsenter unshare; do
    command -v $program >/dev/null || { echo "skipped: needs $program (iproute2, util-linux)"; exit 77; }
done
[ "$(id -u)" = 0 ] && unshare --net --uts true 2>/dev/null || {
    echo "skipped: needs root and network namespaces"; exit 77; }
. "$GALLEY_SOURCE/tests/ranks/common.sh"
tag=gh$$
mounted=$(grep -c ' /run/netns ' /proc/mounts || true)    # which the first ip netns add does, for good
remove() {
    for host in a b; do
        pids=$(ip netns pids $tag$host 2>/dev/null || true)
        # shellcheck disable=SC2086
        [ -z "$pids" ] || kill -KILL $pids 2>/dev/null || true
        ip netns del $tag$host 2>/dev/null || true
    done
    [ "$mounted" != 0 ] || umount /run/netns 2>/dev/null || true    # not where others' are in it
}
trap remove EXIT
ip netns add ${tag}a 2>/dev/null && ip -n ${tag}a link set lo up 2>/dev/null || {
    echo "skipped: ip netns does not work here (in a chroot, / is no mount of its own)"; exit 77; }
ip netns add ${tag}b
rm -rf whole run ./*.log
make_text
ip link add ${tag}va type veth peer name ${tag}vb
for host in a b; do
    ip link set $tag"v$host" netns $tag$host
    ip -n $tag$host addr add 10.204.0.$([ $host = a ] && echo 1 || echo 2)/24 dev ${tag}v$host
    ip -n $tag$host link set ${tag}v$host up
    ip -n $tag$host link set lo up
done
# What mpirun starts its daemons with, in place of ssh: agent.sh ADDRESS COMMAND...
cat >agent.sh <<EOF
#!/bin/bash
case \$1 in 10.204.0.1) ns=${tag}a ;; *) ns=${tag}b ;; esac
shift
exec nsenter --net=/run/netns/\$ns unshare --uts sh -c 'hostname "\$0"; exec sh -c "\$1"' \$ns "\$*"
EOF
chmod +x agent.sh

open_mpi=$(mpirun --version | sed -n 's/.*(Open MPI) \([0-9]*\).*/\1/p')
options=(--validation.every_epochs=0 --sampling.every_epochs=0 --checkpoint.every_steps=10
    --checkpoint.every_epochs=0 --deadline.answer=3)
# over_hosts FOLDER STEPS: one rank a host
over_hosts() {
    nsenter --net=/run/netns/${tag}a unshare --uts sh -c 'hostname "$0"; exec "$@"' ${tag}a \
        timeout -s KILL 60 mpirun --mca plm_rsh_agent "$PWD/agent.sh" --mca oob_tcp_if_include 10.204.0.0/24 \
        --mca btl_tcp_if_include 10.204.0.0/24 --mca pml ob1 --mca btl tcp,self --bind-to none -n 2 \
        --host ${tag}a:1,10.204.0.2:1 "$GALLEY" train tiny.yaml "--run.folder=$1" "${options[@]}" \
        "--train.steps=$2" >"$1.log" 2>&1
}
fail() { echo "FAILED: $1"; grep -av '^step ' run.log | tail -n 40; exit 1; }
wait_saved() {
    local before=$1
    for _ in $(seq 300); do
        [ "$(ls run/checkpoints 2>/dev/null)" = "$before" ] || return 0
        sleep 0.1
    done
    fail "nothing was saved"
}
gone() {
    for _ in $(seq 100); do
        [ -n "$(ip netns pids $tag"$1")" ] || return 0
        sleep 0.1
    done
    fail "processes are left on host $1: $(ps -o pid,args -p "$(ip netns pids $tag"$1" | paste -sd,)")"
}

# lose HOW: starts, without an end in sight, loses a host, and looks at the end of what is left
lose() {
    local rc=0 start before
    before=$(ls run/checkpoints 2>/dev/null || true)
    over_hosts run 1000000000 &
    local launcher=$!
    wait_saved "$before"
    start=$SECONDS
    "$@"
    { wait $launcher; } 2>/dev/null || rc=$?
    # Open MPI 5 says that it lost a host, and then 0.
    [ $rc != 0 ] || [ "$open_mpi" -ge 5 ] || fail "$*: mpirun ended well"
    [[ $("$GALLEY" train tiny.yaml --run.folder=run --state) == running\ step\ * ]] || fail "$*: the run does not say that it was lost"
    [ $((SECONDS - start)) -le 25 ] || fail "$*: ended after $((SECONDS - start)) s"
    gone a
    "$GALLEY" inspect run --verify >/dev/null || fail "$*: nothing was saved"
    echo "$*: ended after $((SECONDS - start)) s with exit code $rc"
}
daemon_killed() {
    # The daemon, and with it (as the host's kernel would) its ranks.
    # shellcheck disable=SC2046
    kill -KILL $(ip netns pids ${tag}b)
}
link_cut() { ip -n ${tag}b link set ${tag}vb down; }
lose daemon_killed
grep -qaE 'lost communication|ORTE has lost|daemon|does not answer' run.log || fail "no word of the lost host"
lose link_cut
grep -qaE "rank [01] \(process [0-9]+ on ${tag}[ab], .*\) does not answer" run.log ||
    fail "the lost rank is not named"
remove_b() {
    # shellcheck disable=SC2046
    kill -KILL $(ip netns pids ${tag}b) 2>/dev/null || true
}
remove_b
ip -n ${tag}b link set ${tag}vb up
steps=$(($(ls run/checkpoints | sed -n 's/^step-0*\([0-9]*\)\.h5$/\1/p' | sort -n | tail -n 1) + 30))
over_hosts run $steps || fail "it did not go on"
train 2 whole "${options[@]}" --train.steps=$steps
same whole run 0
echo "gone on with over two hosts: losses as uninterrupted, bit for bit"
