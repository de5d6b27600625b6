# padded.sh - heads of 85 channels, which are padded on a GPU in device memory only: a checkpoint of there has
# the CPU's tensors, each goes on on the other device, and on the same one bit for bit; the memory that a dry run
# tells is the run's.
# usage: padded.sh PROGRAM
set -eu
. "$(dirname "$0")/common.sh"
rm -rf whole halves cpu to_cpu to_gpu planned ./*.log
make_run
options=(--model.channels=256 --model.heads=3 --model.layers=1 --data.sequence_length=12 --train.global_batch=2
    --train.steps=4 --checkpoint.every_steps=2 --validation.every_epochs=0)
half=(--train.steps=2 --schedule.decay_steps=4)
gpu=(--train.precision=bf16)
cpu=(--device.kind=cpu)
last=checkpoints/step-00000004.h5

train 1 whole "${options[@]}" "${gpu[@]}"
train 1 halves "${options[@]}" "${gpu[@]}" "${half[@]}"
cp -r halves to_cpu
train 1 halves "${options[@]}" "${gpu[@]}"
same whole halves 0
command -v h5dump >/dev/null || { echo "hdf5-tools are not installed"; exit 77; }
h5diff whole/$last halves/$last /weights /weights
h5diff whole/$last halves/$last /optimizer /optimizer

train 1 cpu "${options[@]}" "${cpu[@]}"
train 1 to_cpu "${options[@]}" "${cpu[@]}"
train 1 to_gpu "${options[@]}" "${cpu[@]}" "${half[@]}"
train 1 to_gpu "${options[@]}" "${gpu[@]}"
same cpu whole 0.1
same cpu to_cpu 0.1
same cpu to_gpu 0.1

# tensors FILE: names, types and shapes
tensors() {
    h5dump -H -g /weights -g /optimizer "$1" | tail -n +2
}
tensors whole/$last >gpu.tensors
tensors cpu/$last >cpu.tensors
grep -q '( 256, 3, 3, 85 )' gpu.tensors || { cat gpu.tensors; echo "no tensor of heads as files have it"; exit 1; }
cmp gpu.tensors cpu.tensors || { echo "a GPU's checkpoint has other tensors"; exit 1; }
# Values stand where the CPU has them: four steps of 0.003 part them by 0.024, other places by up to 0.2.
h5diff -d 0.024 whole/$last cpu/$last /weights /weights
h5diff -d 0.024 to_gpu/$last cpu/$last /weights /weights

# Megabytes of the model and its training; padding makes more of them.
model_bytes() {
    sed -nE 's/^memory  .* planned: ([0-9.]+) MB for the model.*/\1/p' "$1"
}
"$GALLEY" train tiny.yaml --dry-run --run.folder=planned "${options[@]}" "${gpu[@]}" >planned.log 2>&1
[ -n "$(model_bytes planned.log)" ] && [ "$(model_bytes planned.log)" = "$(model_bytes whole.log)" ] || {
    echo "planned: $(model_bytes planned.log) MB, the run has $(model_bytes whole.log)"; exit 1; }
