# reproducible.sh - with --reproducible 1, 2, 4 and 8 ranks log the same losses, norms and validations to the
# last bit, and end with the same weights and moments, also where the number of ranks changes half-way, with
# dropout, and where an epoch's last global batch is short; without it they differ.
set -eu
. "$(dirname "$0")/common.sh"
rm -rf r1 r2 r4 r8 mixed plain1 plain4 ./*.log
make_text
options=(--train.global_batch=16 --train.micro_batch=2 --train.steps=16 --validation.every_steps=8
    --sampling.every_epochs=0 --checkpoint.every_steps=5 --checkpoint.keep=0 --model.dropout=0.1
    --comm.bucket_megabytes=0.05)

for n in 1 2 4 8; do
    train $n r$n --reproducible "${options[@]}"
done
for n in 2 4 8; do
    same r1 r$n 0
done

# 200 samples in batches of 16: the 13th is of 8, and half the ranks have none of it.
train 4 mixed --reproducible "${options[@]}" --train.steps=10 --schedule.decay_steps=16
train 2 mixed --reproducible "${options[@]}" --train.steps=13 --schedule.decay_steps=16
train 8 mixed --reproducible "${options[@]}"
grep -q 'resuming  after step 13' mixed.log
sed -i -E '/"step": (10|13),.*"validation_loss"/d' mixed/metrics.jsonl
cp r1/metrics.jsonl whole.jsonl
sed -i -E '/"step": 13,.*"validation_loss"/d' r1/metrics.jsonl
same r1 mixed 0
cp whole.jsonl r1/metrics.jsonl

if command -v h5diff >/dev/null; then
    for run in r2 r4 r8 mixed; do
        h5diff r1/checkpoints/step-00000016.h5 $run/checkpoints/step-00000016.h5 /weights /weights
        h5diff r1/checkpoints/step-00000016.h5 $run/checkpoints/step-00000016.h5 /optimizer /optimizer
    done
fi

# What it is for: the sums of gradients are otherwise those of the number of ranks.
for n in 1 4; do
    train $n plain$n "${options[@]}"
done
losses plain1 >first.losses
losses plain4 >second.losses
if cmp -s first.losses second.losses; then echo "1 and 4 ranks agree without --reproducible"; exit 1; fi
same plain1 plain4 1e-4
same plain1 r1 1e-4

# What cannot be is refused at once.
refuse() {
    local words=$1
    shift
    if "$GALLEY" train tiny.yaml --run.folder=none --reproducible "$@" >refused.log 2>&1; then exit 1; fi
    grep '^galley: ' refused.log | grep -qF -- "$words" || { cat refused.log; exit 1; }
}
refuse 'set train.micro_batch' --train.global_batch=12 --train.micro_batch=2
refuse 'set train.micro_batch' --train.global_batch=16
refuse 'set device.threads' --train.global_batch=16 --train.micro_batch=2 --device.threads=0
