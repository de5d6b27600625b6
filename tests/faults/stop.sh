# stop.sh - a run that is asked to stop, in any way, saves at one step on all ranks, ends with 75, and gone
# on with is the uninterrupted run, bit for bit.
set -eu
. "$GALLEY_SOURCE/tests/ranks/common.sh"
rm -rf whole stopped ./*.log
make_text
# No run here is over before it is stopped, however fast the machine; how long it is in the end, the step
# says at which it stopped. The rate of a step does not depend on that.
options=(--train.global_batch=24 --validation.every_steps=60 --sampling.every_epochs=0
    --checkpoint.every_epochs=0 --schedule.kind=constant)
more=30
fail() { echo "$1:"; grep -v '^step ' stopped.log | tail -n 40; exit 1; }

# stop HOW WHOM: runs, asks, and looks at the end; then goes on. WHOM: mpirun, 0, 1 or nobody
stop() {
    local how=$1 whom=$2 rc=0 victim
    shift 2
    rm -rf stopped whole
    mpirun --oversubscribe --bind-to none --timeout 60 -n 2 "$GALLEY" train tiny.yaml --run.folder=stopped \
        "${options[@]}" --train.steps=1000000000 "$@" >stopped.log 2>&1 &
    local launcher=$!
    if [ "$whom" != nobody ]; then
        for _ in $(seq 1000); do
            [ "$(cat stopped/metrics.jsonl 2>/dev/null | wc -l)" -lt 10 ] || break
            sleep 0.02
        done
        victim=$launcher
        [ "$whom" = mpirun ] || victim=$(pgrep -P "$launcher" | sed -n "$((whom + 1))p")
        kill "-$how" "$victim"
    fi
    wait "$launcher" || rc=$?
    case "$how $whom" in
    'TERM mpirun' | 'HUP mpirun' | 'INT mpirun')
        # It ends its ranks by TERM and then KILL, and prints nothing of theirs meanwhile.
        [ $rc = 1 ] || fail "$how to mpirun: exit code $rc, expected 1" ;;
    *)
        [ $rc = 75 ] || fail "$how to $whom: exit code $rc, expected 75"
        [ "$(grep -c 'asked to stop by' stopped.log)" = 1 ] || fail "$how to $whom: told not once" ;;
    esac
    "$GALLEY" inspect stopped --verify >/dev/null || fail "$how to $whom: nothing was saved"
    local step
    step=$(ls stopped/checkpoints | sed 's/step-0*//; s/\.h5//')
    options+=("--train.steps=$((step + more))")
    train 2 stopped "${options[@]}" || fail "$how to $whom: it did not go on"
    train 2 whole "${options[@]}"
    unset 'options[-1]'
    same whole stopped 0
    echo "$how to $whom: saved step $step, went on bit for bit"
}
stop USR1 0
stop TERM 1
stop HUP 0
stop USR1 mpirun
# Open MPI 4 leaves its ranks a second to save in, unless it is told otherwise, and twice on a machine that
# may be busy. Open MPI 5 leaves a quarter of a second, whatever it is told: enough for this model, but not
# always on such a machine.
for try in 1 2 3; do
    ! (OMPI_MCA_odls_base_sigkill_timeout=2 stop TERM mpirun) || break
    [ $try -lt 3 ]
done
stop 'the time limit' nobody --run.time_limit=0:02 --run.time_margin_s=1
grep -q 'asked to stop by the time limit' stopped.log && fail "the time limit holds for one job only"

# A wish that comes before there is anything to save, as early as it is understood.
"$GALLEY" train tiny.yaml --run.folder=stopped "${options[@]}" --train.steps=1000000000 \
    --tokenizer.vocabulary= >stopped.log 2>&1 &
until grep -qE '^SigCgt:[[:space:]]*[0-9a-f]*[2367abef][0-9a-f]{2}$' /proc/$!/status; do :; done
kill -USR1 $!
rc=0
wait $! || rc=$?
[ $rc = 75 ] || fail "at the start: exit code $rc, expected 75"
