# dry_run.sh - what a dry run tells is what the run itself tells, on any number of ranks; it leaves nothing
# behind, and says no to what does not fit.
set -eu
. "$GALLEY_SOURCE/tests/ranks/common.sh"
rm -rf planned run ./*.log
make_text
quiet=(--validation.every_epochs=0 --sampling.every_epochs=0)

# numbers FILE: planned memory, but for what was there before
numbers() {
    sed -nE 's/^memory  .* planned: (.*), [0-9.]+ MB there before$/\1/p' "$1"
}
plan() {
    "$GALLEY" train tiny.yaml --dry-run --run.folder=planned "${quiet[@]}" "$@" >plan.log 2>&1
}
for case in "1" "2" "2 --train.precision=bf16 --train.micro_batch=2" "3 --model.family=gpt2"; do
    set -- $case
    ranks=$1
    shift
    if [ "$*" != "${*#*bf16}" ] && ! grep -q avx512_bf16 /proc/cpuinfo; then
        continue
    fi
    rm -rf run
    plan --ranks "$ranks" "$@"
    [ ! -e planned ] || { echo "a dry run left its folder"; exit 1; }
    train "$ranks" run "${quiet[@]}" --train.epochs=1 --train.steps=4 "$@"
    [ -n "$(numbers run.log)" ] && [ "$(numbers plan.log)" = "$(numbers run.log)" ] || {
        echo "planned: $(numbers plan.log)"
        echo "the run: $(numbers run.log)"
        exit 1
    }
    parameters=$(sed -nE 's/^model  ([0-9]+) parameters; ([0-9]+) steps.*/\1 \2/p' run.log)
    told="$(sed -nE 's/^model +([0-9]+) parameters/\1/p' plan.log) $(sed -nE 's/^steps +([0-9]+) an.*/\1/p' plan.log)"
    [ "$parameters" = "$told" ] || { echo "parameters, steps: planned $told, the run $parameters"; exit 1; }
    data=$(sed -nE 's/^data +//p' plan.log)
    [ -n "$data" ] && [ "$data" = "$(sed -nE 's/^data  //p' run.log)" ] || {
        echo "the data is told as another than the run's"; exit 1; }
    bytes=$(stat -c %s run/checkpoints/step-*.h5)
    most=$(sed -nE 's/^checkpoint +([0-9.]+) MB.*/\1/p' plan.log)
    awk -v b="$bytes" -v m="$most" 'BEGIN { exit !(b <= 1e6 * m + 1e5 && b >= 1e6 * m - 1.2e6) }' || {
        echo "a checkpoint of $bytes bytes, planned $most MB"; exit 1; }
done

# The same through mpirun, told once.
mpirun --oversubscribe --bind-to none -n 2 "$GALLEY" train tiny.yaml --dry-run --run.folder=planned \
    "${quiet[@]}" >mpirun.log 2>&1
plan --ranks 2
[ "$(numbers mpirun.log)" = "$(numbers plan.log)" ] || { echo "mpirun's plan is another"; exit 1; }

# refused WORDS ARGUMENT...
refused() {
    local words=$1
    shift
    if plan "$@"; then
        echo "not refused: $*"
        exit 1
    fi
    grep '^galley: ' plan.log | grep -qF -- "$words" || { tail -n 3 plan.log; exit 1; }
}
# A terabyte, told in no time and without having it.
refused "MB on a node" --model.family=gpt2 --model.vocabulary_size=50257 --model.channels=1600 \
    --model.heads=25 --model.feed_forward=6400 --model.layers=48 --train.global_batch=192 \
    --data.sequence_length=1024
refused "cannot be shared evenly" --ranks 5
refused "--ranks" --ranks none
refused "data.train is empty" --data.train=
if "$GALLEY" train tiny.yaml --ranks 2 >plan.log 2>&1; then
    echo "--ranks without --dry-run was taken"
    exit 1
fi
