# train.sh - training on a GPU is the CPU's to rounding, in every precision as good, the same as graphs and
# call by call, and the same bit for bit after a kill; its checkpoints move to the CPU and back.
# usage: train.sh PROGRAM [STEPS]      default 200
set -eu
. "$(dirname "$0")/common.sh"
steps=${1:-200}
half=$((steps / 2))
rm -rf cpu fp32 plain bf16 fp16 killed to_cpu to_gpu
options=(--train.steps="$steps" --schedule.decay_steps="$steps" --validation.every_steps="$half"
    --checkpoint.every_steps=$((steps / 8)) --sampling.every_epochs=0)

train 1 cpu "${options[@]}" --device.kind=cpu --device.threads=0
train 1 fp32 "${options[@]}" --device.kind=cuda
same cpu fp32 1e-4 1e-2
train 1 plain "${options[@]}" --device.kind=cuda --device.graphs=false
same fp32 plain 0

# perplexity FOLDER: on the validation set, at the end
perplexity() { sed -nE 's/.*"validation_perplexity": ([^,}]+).*/\1/p' "$1/metrics.jsonl" | tail -n 1; }
for precision in bf16 fp16; do
    train 1 $precision "${options[@]}" --device.kind=cuda --train.precision=$precision
    awk -v a="$(perplexity fp32)" -v b="$(perplexity $precision)" \
        'BEGIN { exit !(b < 1.01 * a && b > 0.99 * a) }' || {
        echo "$precision ends at perplexity $(perplexity $precision), fp32 at $(perplexity fp32)"
        exit 1
    }
done

# Killed when it has written a checkpoint.
train 1 killed "${options[@]}" --device.kind=cuda &
until ls killed/checkpoints/*.h5 >/dev/null 2>&1; do
    kill -0 $! 2>/dev/null || break
    sleep 0.05
done
pkill -9 -f "run.folder=killed" || true
wait || true
train 1 killed "${options[@]}" --device.kind=cuda
same fp32 killed 0

train 1 to_cpu "${options[@]}" --train.steps=$half --device.kind=cuda
train 1 to_cpu "${options[@]}" --device.kind=cpu --device.threads=0
train 1 to_gpu "${options[@]}" --train.steps=$half --device.kind=cpu --device.threads=0
train 1 to_gpu "${options[@]}" --device.kind=cuda
same fp32 to_cpu 1e-4 1e-2
same fp32 to_gpu 1e-4 1e-2
