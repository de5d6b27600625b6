# stop.sh - a run that is asked to stop, in any way, saves at one step on all ranks, ends with 75, and gone
# on with is the uninterrupted run, bit for bit.
set -eu
. "$GALLEY_SOURCE/tests/ranks/common.sh"
rm -rf whole stopped ./*.log
make_text
options=(--train.steps=300 --train.global_batch=24 --validation.every_steps=60 --sampling.every_epochs=0
    --checkpoint.every_epochs=0)
fail() { echo "$1:"; cat stopped.log; exit 1; }
train 2 whole "${options[@]}"

# stop HOW WHOM: runs, asks, and looks at the end; then goes on. WHOM: mpirun, 0, 1 or nobody
stop() {
    local how=$1 whom=$2 rc=0 victim
    shift 2
    rm -rf stopped
    mpirun --oversubscribe --bind-to none --timeout 60 -n 2 \
        "$GALLEY" train tiny.yaml --run.folder=stopped "${options[@]}" "$@" >stopped.log 2>&1 &
    local launcher=$!
    if [ "$whom" != nobody ]; then
        for _ in $(seq 200); do
            [ "$(cat stopped/metrics.jsonl 2>/dev/null | wc -l)" -lt 10 ] || break
            sleep 0.02
        done
        victim=$launcher
        [ "$whom" = mpirun ] || victim=$(pgrep -P "$launcher" | sed -n "$((whom + 1))p")
        kill "-$how" "$victim"
    fi
    wait "$launcher" || rc=$?
    if [ "$how $whom" = "TERM mpirun" ]; then
        # It gives its ranks TERM after a second and KILL a second later, and is silent meanwhile.
        [ $rc = 1 ] || fail "TERM to mpirun: exit code $rc, expected 1"
    else
        [ $rc = 75 ] || fail "$how to $whom: exit code $rc, expected 75"
        [ "$(grep -c 'asked to stop by' stopped.log)" = 1 ] || fail "$how to $whom: told not once"
    fi
    "$GALLEY" inspect stopped --verify >/dev/null || fail "$how to $whom: nothing was saved"
    local step
    step=$(ls stopped/checkpoints | sed 's/step-0*//; s/\.h5//')
    [ "$step" -lt 300 ] || fail "$how to $whom: it came too late"
    train 2 stopped "${options[@]}"
    same whole stopped 0
    echo "$how to $whom: saved step $step, went on bit for bit"
}
stop USR1 0
stop TERM 1
stop USR1 mpirun
stop TERM mpirun
stop 'the time limit' nobody --run.time_limit=0:02 --run.time_margin_s=1
grep -q 'asked to stop by the time limit' stopped.log && fail "the time limit holds for one job only"

# A wish that comes before there is anything to save.
"$GALLEY" train tiny.yaml --run.folder=stopped "${options[@]}" --tokenizer.vocabulary= >stopped.log 2>&1 &
sleep 0.2
kill -USR1 $!
rc=0
wait $! || rc=$?
[ $rc = 75 ] || fail "at the start: exit code $rc, expected 75"
