#!/usr/bin/env bash
# cluster.sh - a real Slurm cluster of N "hosts" inside one machine. Each host is a network, UTS and mount
# namespace on one bridge, so that host names, addresses, ports and /dev/shm are its own; file system and
# processors are shared. Needs root, and Debian's slurm-wlm, munge and iproute2.
#
#   cluster.sh can                               exit code 77, and why, where it cannot run
#   cluster.sh start FOLDER [NODES=2] [CPUS=2]   builds all under FOLDER (absolute, not there yet)
#   cluster.sh exec  FOLDER COMMAND...           sbatch, squeue, scontrol ... against it
#   cluster.sh on    FOLDER NODE COMMAND...      on node n1, n2 ...
#   cluster.sh wait  FOLDER JOB [SECONDS=60]     for a job's end; prints state and exit code
#   cluster.sh pids  FOLDER NODE                 of all processes there
#   cluster.sh kill  FOLDER NODE                 as if the node lost power
#   cluster.sh stop  FOLDER                      ends all daemons and jobs; FOLDER stays
set -eu -o pipefail

die() { echo "cluster.sh: $*" >&2; exit 1; }
verb=${1:-} folder=${2:-}

if [ "$verb" = can ]; then
    [ "$(id -u)" = 0 ] || { echo "needs root"; exit 77; }
    for program in slurmctld slurmd munged sbatch ip nsenter unshare; do
        command -v $program >/dev/null || { echo "needs $program"; exit 77; }
    done
    [ -d /sys/fs/cgroup ] && unshare --net --uts --mount true 2>/dev/null || {
        echo "needs namespaces and cgroups"; exit 77; }
    exit 0
fi
[[ $folder == /* ]] || die "usage: cluster.sh can | start|exec|on|wait|pids|kill|stop ABSOLUTE-FOLDER ..."

tag=gs$(printf %s "$folder" | cksum | cut -d' ' -f1)    # names of namespaces, unique per FOLDER
# Not `ip netns exec`: it hides /sys/fs/cgroup.
in_host() { local host=$1; shift; nsenter --net="/run/netns/$tag-$host" "$@"; }
pids_of() { ip netns pids "$tag-$1" 2>/dev/null || true; }

# Ends all processes of a host.
end_host() {
    local signal pids
    for signal in "${@:2}"; do
        pids=$(pids_of "$1")
        [ -n "$pids" ] || return 0
        # shellcheck disable=SC2086
        kill "-$signal" $pids 2>/dev/null || true
        for _ in $(seq 30); do
            [ -n "$(pids_of "$1")" ] || return 0
            sleep 0.1
        done
    done
}

write_config() {
    cat >"$folder/slurm.conf" <<CONF
ClusterName=test
SlurmctldHost=ctl(10.77.0.254)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket=$folder/munge/socket
CredType=cred/munge
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool.%n
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd.%n.pid
SlurmctldLogFile=$folder/log/slurmctld
SlurmdLogFile=$folder/log/slurmd.%n
TmpFS=$folder/tmp/%n
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerType=sched/builtin
SchedulerParameters=sched_interval=1,batch_sched_delay=1
MpiDefault=none
JobRequeue=1
KillWait=10
MinJobAge=3600
ReturnToService=2
SlurmdTimeout=10
SlurmctldTimeout=60
MessageTimeout=10
NodeName=n[1-$nodes] NodeAddr=10.77.0.[1-$nodes] CPUs=$cpus RealMemory=2000 State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
CONF
}

# A bridge in the controller's namespace: nothing touches the machine's own network.
make_network() {
    local i
    ip netns add "$tag-ctl"
    in_host ctl ip link set lo up
    in_host ctl ip link add name br0 type bridge
    in_host ctl ip addr add 10.77.0.254/24 dev br0
    in_host ctl ip link set br0 up
    for i in $(seq "$nodes"); do
        mkdir -p "$folder/tmp/n$i"
        ip netns add "$tag-n$i"
        in_host ctl ip link add "v$i" type veth peer name eth0 netns "$tag-n$i"
        in_host ctl ip link set "v$i" master br0 up
        in_host "n$i" ip addr add "10.77.0.$i/24" dev eth0
        in_host "n$i" ip link set eth0 up
        in_host "n$i" ip link set lo up
    done
}

# daemon HOST COMMAND...: with a host name and a /dev/shm of its own.
daemon() {
    local host=$1
    shift
    setsid nsenter --net="/run/netns/$tag-$host" unshare --uts --mount sh -c \
        'hostname "$0"; mount -t tmpfs tmpfs /dev/shm; exec "$@"' "$host" "$@" \
        </dev/null >"$folder/log/$host.out" 2>&1 &
    echo $! >"$folder/$host.pid"
}

case $verb in
start)
    nodes=${3:-2} cpus=${4:-2}
    [ ! -e "$folder" ] || die "$folder is there already"
    mkdir -p "$folder"/{state,log,munge,tmp}
    chmod 755 "$folder" "$folder/munge"
    trap '"$0" stop "$folder" >/dev/null 2>&1 || true; echo "cluster.sh: start failed, see $folder/log" >&2' ERR
    dd if=/dev/urandom of="$folder/munge/key" bs=128 count=1 status=none
    chmod 400 "$folder/munge/key"
    write_config
    make_network
    export SLURM_CONF=$folder/slurm.conf
    unset "${!SLURM_JOB@}" "${!OMPI_@}" "${!PMIX_@}" 2>/dev/null || true
    setsid munged --foreground --force --socket="$folder/munge/socket" \
        --key-file="$folder/munge/key" --pid-file="$folder/munge/pid" \
        --seed-file="$folder/munge/seed" --log-file="$folder/log/munged" \
        </dev/null >"$folder/log/munged.out" 2>&1 &
    echo $! >"$folder/munged.pid"
    for _ in $(seq 50); do [ -S "$folder/munge/socket" ] && break; sleep 0.1; done
    daemon ctl slurmctld -D
    for i in $(seq "$nodes"); do daemon "n$i" slurmd -D -N "n$i"; done
    for _ in $(seq 150); do
        idle=$("$0" exec "$folder" sinfo -h -N -t idle -o %N 2>/dev/null | wc -l)
        [ "$idle" = "$nodes" ] && exit 0
        sleep 0.2
    done
    false
    ;;
exec)
    shift 2
    exec env SLURM_CONF="$folder/slurm.conf" nsenter --net --uts -t "$(cat "$folder/ctl.pid")" -- "$@"
    ;;
on)
    host=$3
    shift 3
    in_host "$host" "$@"
    ;;
wait)
    job=${3:?job} limit=${4:-60} info=
    for _ in $(seq $((limit * 5))); do
        info=$("$0" exec "$folder" scontrol -o show job "$job")
        case $info in
        *JobState=COMPLETED* | *JobState=FAILED* | *JobState=CANCELLED* | *JobState=TIMEOUT* | *JobState=NODE_FAIL*)
            echo "$info" | grep -oE '(JobState|ExitCode|Restarts)=[^ ]+' | paste -sd' '
            exit 0 ;;
        esac
        sleep 0.2
    done
    die "job $job did not end in $limit s: $(echo "$info" | grep -oE 'JobState=[^ ]*')"
    ;;
pids)
    pids_of "$3"
    ;;
kill)
    in_host "$3" ip link set eth0 down    # or the kernel would tell others of the connections that end
    end_host "$3" KILL
    ;;
stop)
    for host in $(ip netns list | awk -v t="$tag-" 'index($1, t) == 1 {print substr($1, length(t) + 1)}'); do
        end_host "$host" TERM KILL
        ip netns del "$tag-$host"
    done
    munged=$(cat "$folder/munged.pid" 2>/dev/null || true)
    [ -n "$munged" ] && kill "$munged" 2>/dev/null || true
    ;;
*)
    die "no verb \"$verb\"" ;;
esac
