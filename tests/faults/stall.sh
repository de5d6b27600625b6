# stall.sh - checkpoints of the 124M model of GPT-2 (1.5 GB with moments), written in the background on two CPU
# ranks, stop training for less than one step; prints what they cost. Takes 8 GB of memory, 4 GB of disk,
# and a minute.
set -eu
. "$GALLEY_SOURCE/tests/ranks/common.sh"
rm -rf run ./*.log
make_text
mpirun --oversubscribe --bind-to none --timeout 900 -n 2 "$GALLEY" train tiny.yaml --run.folder=run \
    --model.family=gpt2 --model.vocabulary_size=50257 --model.channels=768 --model.heads=12 \
    --model.feed_forward=3072 --model.layers=12 --model.max_positions=1024 --train.global_batch=4 \
    --train.steps=7 --train.check_every_steps=0 --checkpoint.every_steps=4 --checkpoint.keep=1 \
    --validation.every_epochs=0 --sampling.every_epochs=0 >run.log 2>&1 || { tail -n 20 run.log; exit 1; }
rm -r run/checkpoints
grep '^checkpoint  step' run.log
# The last, after step 7, waits for the one before.
stall=$(sed -n 's/^checkpoint  step 4 .* stall \([0-9]*\) ms.*/\1/p' run.log)
sed -n 's/.*"step": \([0-9]*\),.*"step_ms": \([^,]*\),.*/\1 \2/p' run/metrics.jsonl | awk -v stall="$stall" '
    function median(a, n,    i, j, x) {
        for (i = 2; i <= n; i++) {
            x = a[i]
            for (j = i - 1; j > 0 && a[j] > x; j--) a[j + 1] = a[j]
            a[j + 1] = x
        }
        return a[int((n + 1) / 2)]
    }
    $1 > 1 && $1 <= 4 { before[++n] = $2 }
    $1 > 4 { m++; after += $2 }
    END {
        step = median(before, n)
        printf "a step takes %.0f ms; training stood still for %.0f ms, %.2f of a step; the 3 steps beside "\
            "which the checkpoint was written took %.0f ms, %.2f steps, longer\n", step, stall,
            stall / step, after - m * step, after / step - m
        exit !(stall > 0 && stall < step)
    }'
