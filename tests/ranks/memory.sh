# memory.sh COUNTING - the loop allocates nothing, resident memory is what was planned and stays flat.
# COUNTING: the program, linked so that it counts its allocations.
set -eu
. "$(dirname "$0")/common.sh"
counting=$1
rm -rf short long planned
make_text
quiet="--checkpoint.every_epochs=0 --validation.every_epochs=0 --sampling.every_epochs=0"

# Ten epochs against one, a row logged every step: whatever a step, an epoch or a row allocated would show.
for n in short:20 long:220; do
    GALLEY_ALLOCATIONS=${n%:*}.count "$counting" train tiny.yaml --run.folder="${n%:*}" \
        --train.steps="${n#*:}" $quiet >"${n%:*}.log" 2>&1
done
[ "$(cat short.count)" -gt 100 ] || { echo "allocations are not counted"; exit 1; }
[ "$(cat short.count)" = "$(cat long.count)" ] || {
    echo "200 more steps made $(($(cat long.count) - $(cat short.count))) more allocations"; exit 1; }

# resident FOLDER: megabytes at the end of the run, the most of any rank
resident() {
    sed -nE 's/^memory  ([0-9.]+) MB resident at the end.*/\1/p' "$1.log"
}
# near NUMBER NUMBER PERCENT WHAT
near() {
    awk -v a="$1" -v b="$2" -v percent="$3" 'BEGIN { d = a - b; if (d < 0) d = -d
        exit !(a > 0 && b > 0 && d <= percent / 100 * b) }' || {
        echo "$4: $1 MB against $2 MB, more than $3 % apart"; exit 1; }
}

# Sanitizers keep freed memory and shadows of their own, so what follows would measure them.
if nm -D "$GALLEY" 2>/dev/null | grep -q __asan_init; then
    exit 0
fi

rm -rf short long
for n in short:100 long:1100; do
    train 2 "${n%:*}" --train.steps="${n#*:}" --train.log_every_steps=50 $quiet
done
near "$(resident long)" "$(resident short)" 1 "resident memory after 1000 more steps"

# A model large enough that what the libraries take does not matter.
train 2 planned --train.steps=3 --model.vocabulary_size=5000 --model.channels=256 \
    --model.layers=4 --data.sequence_length=128 --train.global_batch=64 $quiet
plan=$(sed -nE 's/^memory  ([0-9.]+) MB a rank planned.*/\1/p' planned.log)
near "$(resident planned)" "$plan" 5 "resident memory against its plan"
