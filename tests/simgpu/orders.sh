# orders.sh - whatever order the streams of the simulated GPU take, training is the same bit for bit, and the
# same as the CPU's to rounding: on one rank, and on two that sum their gradients over NCCL; step by step or
# as graphs; in each precision; with dropout.
# usage: orders.sh PROGRAM [ORDERS]      default 3
set -eu
. "$(dirname "$0")/common.sh"
orders=${1:-3}
rm -rf cpu one two order
make_run
options=(--train.steps=9 --validation.every_steps=4)

train 1 cpu "${options[@]}" --device.kind=cpu
for n in one:1 two:2; do
    train "${n#*:}" "${n%:*}" "${options[@]}"
    same cpu "${n%:*}" 1e-4
done
for seed in $(seq 2 "$orders"); do
    n=$((seed % 2 + 1))
    graphs=$([ $((seed % 3)) = 0 ] && echo false || echo true)
    rm -rf order
    SIMGPU_SEED=$seed train "$n" order "${options[@]}" --device.graphs=$graphs || {
        cat order.log; echo "order $seed fails"; exit 1; }
    same "$([ "$n" = 1 ] && echo one || echo two)" order 0 || { echo "order $seed"; exit 1; }
done

# Tuned products add bias gradients in another order; their first steps are timed, the others graphs.
rm -rf order
SIMGPU_EPILOGUES=fast train 1 order "${options[@]}" --device.tune=true
same one order 1e-4

# Precision, dropout, and how near the CPU's fp32 must come; norms of gradients differ more than losses.
for variant in bf16:0:0.1 fp16:0:0.05 fp32:0.1:1e-4; do
    IFS=: read -r precision dropout bound <<<"$variant"
    rm -rf cpu two order
    train 1 cpu "${options[@]}" --model.dropout="$dropout" --device.kind=cpu
    for run in two:7 order:8; do
        SIMGPU_SEED=${run#*:} train 2 "${run%:*}" "${options[@]}" --model.dropout="$dropout" \
            --train.precision="$precision"
    done
    same two order 0 || { echo "$variant"; exit 1; }
    same cpu two "$bound" || { echo "$variant"; exit 1; }
done
