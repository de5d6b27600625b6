# orders.sh - whatever order the streams of the simulated GPU take, training is the same bit for bit, and the
# same as the CPU's to rounding; on one rank, and on two that sum their gradients over NCCL.
# usage: orders.sh PROGRAM [ORDERS]      default 4
set -eu
. "$(dirname "$0")/common.sh"
orders=${1:-4}
rm -rf cpu one two order
make_run
options=(--train.steps=7 --validation.every_steps=4)

train 1 cpu "${options[@]}" --device.kind=cpu
for n in one:1 two:2; do
    train "${n#*:}" "${n%:*}" "${options[@]}"
    same cpu "${n%:*}" 1e-4
done
for seed in $(seq 2 "$orders"); do
    n=$((seed % 2 + 1))
    rm -rf order
    SIMGPU_SEED=$seed train "$n" order "${options[@]}" || { cat order.log; echo "order $seed fails"; exit 1; }
    same "$([ "$n" = 1 ] && echo one || echo two)" order 0 || { echo "order $seed"; exit 1; }
done
