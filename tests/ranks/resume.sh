# resume.sh - a run killed at random moments and started again is the uninterrupted run, bit for bit; on
# another number of ranks it is the same to rounding.
# usage: resume.sh [KILLS]      default 4
set -eu
. "$(dirname "$0")/common.sh"
kills=${1:-4}
rm -rf whole killed other
make_text
options=(--train.steps=120 --checkpoint.every_steps=7 --validation.every_steps=20
    --sampling.every_epochs=0 --checkpoint.keep=2)

train 2 whole "${options[@]}"
for i in $(seq "$kills"); do
    (train 2 killed "${options[@]}" || true) 2>/dev/null &
    sleep "$(awk -v r=$RANDOM 'BEGIN { print 0.5 + r / 32768 * 1.5 }')"
    # The newest of this run's processes is one of its ranks, or mpirun before it has any.
    victim=$(pgrep -n -f "$GALLEY .*run.folder=killed" || true)
    [ -z "$victim" ] || kill -9 "$victim" 2>/dev/null || true
    wait
done
train 2 killed "${options[@]}"
same whole killed 0
grep -q 'resuming' killed.log || echo "note: no kill came after the first checkpoint"
newest=checkpoints/step-00000120.h5
if command -v h5diff >/dev/null; then
    h5diff "whole/$newest" "killed/$newest" /weights /weights
    h5diff "whole/$newest" "killed/$newest" /optimizer /optimizer
fi

# Half on two ranks, half on three.
train 2 other "${options[@]}" --train.steps=60 --schedule.decay_steps=120
train 3 other "${options[@]}"
same whole other 1e-4
