# nan.sh PROGRAM POISON_TOKEN - on the simulated GPU, where a step's report is read when the next one is queued:
# a step that is not finite changes nothing, its rank, micro-batch and samples are named, skipping it gives the
# CPU's losses, and a rollback, stopped and gone on with, is the uninterrupted one bit for bit.
set -eu
. "$(dirname "$0")/common.sh"
poison_token=$1
rm -rf base skip cpu back gone ./*.log
make_run

# Samples in order, 4 a step: 12 to 15 are step 4's, 14 in rank 1's first micro-batch.
sed -i '15s/^/zyzzyva /' train.txt
echo zyzzyva >>vocabulary.txt
word=$(($(wc -l <vocabulary.txt) - 1))
options=(--data.shuffle=false --train.micro_batch=1 --train.steps=9 --checkpoint.every_steps=2
    --checkpoint.keep=0 --validation.every_epochs=0 --optimizer.clip_norm=0 --model.heads=2)    # none padded
part=(--train.steps=7 --schedule.decay_steps=9)
expect() {
    grep -q "$2" "$1" || { echo "$1 does not say: $2"; tail -n 20 "$1"; exit 1; }
}

train 1 base "${options[@]}" --train.steps=2 --device.kind=cpu
"$poison_token" base "$word" 3e38
for run in skip cpu back gone; do
    cp -r base $run
done

train 2 skip "${options[@]}" --train.on_nan=skip
train 1 cpu "${options[@]}" --train.on_nan=skip --device.kind=cpu
expect skip.log 'step 4 is not finite .*micro-batch 0 of rank 1 on .*samples 14); nothing was updated'
same cpu skip 1e-3

train 2 back "${options[@]}" --train.on_nan=rollback
expect back.log 'rolled back  to the checkpoint of step 2'
train 2 gone "${options[@]}" "${part[@]}" --train.on_nan=rollback
train 2 gone "${options[@]}" --train.on_nan=rollback
same back gone 0
