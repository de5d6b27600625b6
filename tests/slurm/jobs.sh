# jobs.sh - runs under a real Slurm of two nodes: time limits, signals, cancelling, node failure; a run over
# many jobs is the uninterrupted run, bit for bit.
# usage: jobs.sh [long]      long: also Slurm's own time limit, and a node that loses power (2 minutes more)
#
# Alone: cd to an empty folder, set GALLEY and GALLEY_SOURCE, and `bash tests/slurm/jobs.sh long`.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
reason=$("$here/cluster.sh" can) || { echo "skipped: $reason"; exit 77; }
. "$GALLEY_SOURCE/tests/ranks/common.sh"
cluster=$PWD/cluster
[ ! -e "$cluster" ] || "$here/cluster.sh" stop "$cluster" || true
rm -rf cluster whole limit signal daemon failed cancel node tune swept-* tokens ./*.log
make_text
cp "$GALLEY_SOURCE"/slurm/*.sbatch .

export GALLEY GALLEY_SLURM=$GALLEY_SOURCE/slurm GALLEY_MPIRUN="--oversubscribe --mca btl tcp,self"
export OMPI_MCA_odls_base_sigkill_timeout=1
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
slurm() { "$here/cluster.sh" exec "$cluster" "$@"; }
fail() {
    for log in ./*.log; do
        echo "--- $log"
        grep -v '^step ' "$log" | tail -n 40
    done
    slurm squeue -a || true
    echo "FAILED: $1"
    exit 1
}
finish() { "$here/cluster.sh" stop "$cluster" || true; }
"$here/cluster.sh" start "$cluster" 2 2
trap finish EXIT

options=(--validation.every_epochs=0 --sampling.every_epochs=0 --checkpoint.every_steps=1000
    --checkpoint.every_epochs=0)
# A run has no end, however fast the machine, until its configuration, which every start of the job reads, is
# given one: end_at FOLDER STEPS.
endless=1000000000
end_at() {
    sed "s/^train:/&\n    steps: $2/" tiny.yaml >"$1.yaml.new"
    mv "$1.yaml.new" "$1.yaml"
}
saved() { ls "$1/checkpoints" 2>/dev/null | sed -n 's/^step-0*\([0-9]*\)\.h5$/\1/p' | sort -n | tail -n 1; }
# as_uninterrupted FOLDER: the run's losses and last parameters are those of one without interruptions
as_uninterrupted() {
    local steps
    steps=$(saved "$1")
    rm -rf whole
    train 2 whole "${options[@]}" "--train.steps=$steps"
    same whole "$1" 0
    ! command -v h5diff >/dev/null || h5diff "$(ls whole/checkpoints/*"$steps.h5")" \
        "$(ls "$1"/checkpoints/*"$steps.h5")" /weights /weights
}
# submit FOLDER [SBATCH-OPTION...] -- [--section.key=value...]: prints the job's number
submit() {
    local folder=$1 batch=()
    shift
    while [ "$1" != -- ]; do batch+=("$1"); shift; done
    shift
    end_at "$folder" $endless
    slurm sbatch --parsable --nodes=2 --ntasks-per-node=1 --output="$folder.log" "${batch[@]}" \
        train.sbatch "$folder.yaml" "--run.folder=$folder" "${options[@]}" "$@"
}
state() { slurm scontrol -o show job "$1" | grep -oE 'JobState=[A-Z_]+' | cut -d= -f2; }
restarts() { slurm scontrol -o show job "$1" | grep -oE 'Restarts=[0-9]+' | cut -d= -f2; }
# wait_steps FOLDER N: until so many steps were logged
wait_steps() {
    for _ in $(seq 300); do
        [ "$(grep -c '"loss"' "$1/metrics.jsonl" 2>/dev/null || true)" -ge "$2" ] 2>/dev/null && return
        sleep 0.1
    done
    fail "$1 made no $2 steps"
}
# finish_job JOB FOLDER RESTARTS: once it was queued again so often, the run gets its end, soon, and the job
# goes on to that. A job queued again waits two minutes, and is told not to. While it is being queued it
# looks, for a moment, like one that failed.
pause=1.2
finish_job() {
    local ended=0
    for _ in $(seq 600); do
        case $(state "$1") in
        PENDING)
            [ "$(restarts "$1")" != "$3" ] || end_at "$2" $(($(saved "$2") + 50))
            sleep "$pause"    # or slurmd takes the start for that of the job just ended
            slurm scontrol update JobId="$1" StartTime=now 2>/dev/null || true
            ended=0 ;;
        COMPLETED) return ;;
        FAILED | CANCELLED | TIMEOUT | NODE_FAIL) ended=$((ended + 1)) ;;
        *) ended=0 ;;
        esac
        [ $ended -lt 20 ] || fail "job $1 of $2 ended as $(state "$1")"
        sleep 0.2
    done
    fail "job $1 of $2 did not end"
}

# The run's own time limit, again and again.
job=$(submit limit -- --run.time_limit=0:03 --run.time_margin_s=0)
finish_job "$job" limit 3
[ "$(restarts "$job")" -ge 3 ] || fail "the time limit was hit $(restarts "$job") times, expected 3"
[ "$(grep -c 'asked to stop by the time limit' limit.log)" -ge 3 ] || fail "no word of the time limit"
as_uninterrupted limit
echo "time limit: $(restarts "$job") restarts, $(saved limit) steps, as uninterrupted, bit for bit"

# Slurm's signal before its time limit, to both launchers.
for launcher in mpirun srun; do
    rm -rf signal
    [ $launcher = mpirun ] || pause=4
    job=$(GALLEY_LAUNCHER=$launcher submit signal --export=ALL --)
    wait_steps signal 20
    slurm scancel --batch --signal=USR1 "$job"
    finish_job "$job" signal 1
    [ "$(restarts "$job")" = 1 ] || fail "$launcher: $(restarts "$job") restarts, expected 1"
    grep -q 'asked to stop by SIGUSR1' signal.log || fail "$launcher: no word of the signal"
    as_uninterrupted signal
    echo "USR1, $launcher: saved, queued again, bit for bit"
done

# mpirun's daemon on a node dies, with the node's ranks, and Slurm knows nothing of it.
pause=1.2
job=$(submit daemon --)
wait_steps daemon 20
for pid in $("$here/cluster.sh" pids "$cluster" n2); do
    ! grep -qxE 'orted|prted' "/proc/$pid/comm" 2>/dev/null || kill -KILL "$pid"
done
finish_job "$job" daemon 1
[ "$(restarts "$job")" = 1 ] || fail "a lost daemon: $(restarts "$job") restarts, expected 1"
grep -q 'the run was lost' daemon.log || fail "a lost daemon: nobody was told"
as_uninterrupted daemon
echo "a lost daemon: queued again, bit for bit"

# One that fails with an error of its own is not.
job=$(submit failed -- --data.train=nowhere.txt)
"$here/cluster.sh" wait "$cluster" "$job" 30 | grep -q 'JobState=FAILED Restarts=0 ExitCode=1:0' ||
    fail "a run without data: not failed, once"

# The other scripts: a run that starts from another, a sweep of two, token shards.
# batch FOLDER-OF-LOG SCRIPT ARGUMENT...: to its end, which must be a good one; SBATCH: more options
batch() {
    local log=$1
    shift
    # shellcheck disable=SC2086
    slurm sbatch --wait --nodes=1 --ntasks-per-node=2 ${SBATCH:-} --output="$log.log" "$@" >/dev/null ||
        fail "$*: exit code $?"
}
sed '/^model:/,/^data:/{/^data:/!d}' tiny.yaml >tune.yaml
batch tune finetune.sbatch limit tune.yaml --run.folder=tune "${options[@]}" --train.steps=5
grep -q 'starting from  limit' tune.log && [ "$(saved tune)" = 5 ] || fail "it was not trained further"
printf -- '--optimizer.learning_rate=0.001\n--optimizer.learning_rate=0.002 --run.seed=2\n' >sweep.txt
SBATCH=--array=1-2%1 SWEEP_FOLDER=swept batch sweep sweep.sbatch sweep.txt tiny.yaml "${options[@]}" \
    --train.steps=5
for i in 1 2; do
    grep -q "learning_rate: 0.00$i" "swept-$i/config.yaml" && [ "$(saved "swept-$i")" = 5 ] ||
        fail "line $i of the sweep was not trained"
done
batch tokens tokenize.sbatch --output tokens --vocabulary vocabulary.txt --lowercase train.txt
"$GALLEY" inspect tokens/train-00000.h5 --verify >/dev/null || fail "no token shards"
echo "finetune, sweep, tokenize: done"

# Cancelled: saved, and it stays away.
job=$(submit cancel --)
wait_steps cancel 20
slurm scancel "$job"
"$here/cluster.sh" wait "$cluster" "$job" 30 | grep -q CANCELLED || fail "not cancelled"
for _ in $(seq 100); do
    pgrep -f run.folder=cancel >/dev/null || break
    sleep 0.1
done
! pgrep -f run.folder=cancel >/dev/null || fail "processes are left"
"$GALLEY" inspect cancel --verify >/dev/null || fail "nothing was saved"
echo "scancel: saved, not queued again"
[ "${1:-}" = long ] || exit 0

# Slurm's own limit, in its smallest unit, and a node that loses power.
job=$(submit node --time=1 --signal=B:USR1@20 --)
wait_steps node 20
for _ in $(seq 900); do
    [ "$(restarts "$job")" = 0 ] || break
    sleep 0.1
done
[ "$(restarts "$job")" = 1 ] || fail "the time limit did not queue it again"
echo "Slurm's time limit: saved, queued again"
sleep 1.2
slurm scontrol update JobId="$job" StartTime=now
lines=$(wc -l <node/metrics.jsonl)
wait_steps node $((lines + 20))
"$here/cluster.sh" kill "$cluster" n2
for _ in $(seq 900); do
    [ "$(restarts "$job")" -lt 2 ] || break
    sleep 0.1
done
[ "$(restarts "$job")" = 2 ] || fail "a node that lost power did not queue it again: $(state "$job")"
"$GALLEY" inspect node --verify >/dev/null || fail "nothing was saved"
slurm scancel "$job"
echo "node without power: queued again"
