# resume.sh - on the simulated GPU, a run killed at random moments and started again is the uninterrupted run,
# bit for bit; and a checkpoint goes on where it was not written: on the CPU, on the GPU, on other ranks.
# usage: resume.sh PROGRAM [KILLS]      default 2
set -eu
. "$(dirname "$0")/common.sh"
kills=${1:-2}
rm -rf whole killed to_cpu to_gpu
make_run
options=(--train.steps=24 --checkpoint.every_steps=3 --validation.every_steps=12 --checkpoint.keep=2)

train 2 whole "${options[@]}"
for i in $(seq "$kills"); do
    export SIMGPU_SEED=$i
    (train 2 killed "${options[@]}" || true) 2>/dev/null &
    sleep "$(awk -v r=$RANDOM 'BEGIN { print 1.5 + r / 32768 * 2 }')"
    # The newest of this run's processes is one of its ranks, or mpirun before it has any.
    victim=$(pgrep -n -f "$GALLEY .*run.folder=killed" || true)
    [ -z "$victim" ] || kill -9 "$victim" 2>/dev/null || true
    wait
done
train 2 killed "${options[@]}"
same whole killed 0
if command -v h5diff >/dev/null; then
    newest=checkpoints/step-00000024.h5
    h5diff "whole/$newest" "killed/$newest" /weights /weights
    h5diff "whole/$newest" "killed/$newest" /optimizer /optimizer
fi

# Half here, half there.
half=(--train.steps=12 --schedule.decay_steps=24)
train 2 to_cpu "${options[@]}" "${half[@]}"
train 1 to_cpu "${options[@]}" --device.kind=cpu
train 1 to_gpu "${options[@]}" "${half[@]}" --device.kind=cpu
train 2 to_gpu "${options[@]}"
same whole to_cpu 1e-3
same whole to_gpu 1e-3
