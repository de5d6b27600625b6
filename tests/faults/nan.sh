# nan.sh POISON_TOKEN - a word whose embedding makes the loss infinite stands in one sample of step 11: the
# step changes nothing, rank, micro-batch and samples are named, and the run ends, goes on or goes back as
# asked; alike on 1 and 2 ranks, and a resumed run is the uninterrupted one, bit for bit. So are spikes.
set -eu
. "$(dirname "$0")/../ranks/common.sh"
poison_token=$1
rm -rf base stop skip1 skip2 part limit back1 back2 gone spike1 spike2 spiked
make_text

# Samples in order, 12 a step: samples 126 to 131 of step 11 are rank 1's, 127 in its first micro-batch.
sed -i '128s/^/zyzzyva /' train.txt
echo zyzzyva >>vocabulary.txt
word=$(($(wc -l <vocabulary.txt) - 1))
options=(--data.shuffle=false --train.micro_batch=3 --train.steps=24 --checkpoint.every_steps=3
    --checkpoint.keep=0 --sampling.every_epochs=0)
train 2 base "${options[@]}" --train.steps=6
"$poison_token" base "$word" 3e38

# begin FROM FOLDER: a run that goes on from another one's checkpoint
begin() {
    cp -r "$1" "$2"
}
refuse() {
    if train "$@"; then
        echo "$2 went on"
        exit 1
    fi
}
expect() {
    grep -q "$2" "$1" || { echo "$1 does not say: $2"; cat "$1"; exit 1; }
}

begin base stop
refuse 2 stop "${options[@]}"
expect stop.log 'gradient of step 11 is not finite (loss .* micro-batch 0 of rank 1 on .*samples 126, 127, 128)'
[ "$(grep -c '^galley:' stop.log)" = 1 ]
[ ! -e stop/checkpoints/step-00000012.h5 ]

# Of 1 and 2 ranks rounding differs, and with it now and then the side of its kink on which a unit of the
# feed-forward layer is: gradients then differ by far more. Steps not skipped alike differ in the first digits.
for n in 1 2; do
    begin base skip$n
    train $n skip$n "${options[@]}" --train.on_nan=skip
done
expect skip1.log 'step 11 is not finite .*micro-batch 2 of rank 0 on .*samples 126, 127, 128)'
expect skip2/metrics.jsonl '"step": 11, "event": "not_finite", "action": "skip".*"rank": 1, "micro_batch": 0, "ranks": 1, "samples": \[126, 127, 128\]'
same skip1 skip2 1e-3 1e-2
[ "$(losses skip2 | grep -c null)" = 1 ]

# Stopped by it, or by its time, and gone on: the same run.
train 2 stop "${options[@]}" --train.on_nan=skip
same skip2 stop 0
begin base part
train 2 part "${options[@]}" --train.on_nan=skip --train.steps=14 --schedule.decay_steps=24
train 2 part "${options[@]}" --train.on_nan=skip
sed -i '/"step": 14,.*"validation_loss"/d' part/metrics.jsonl    # at the end of its first part
same skip2 part 0

# A model that is spoilt for good: every sample has a full stop.
begin base limit
"$poison_token" limit $(($(grep -nx '\.' vocabulary.txt | cut -d: -f1) - 1)) 3e38
refuse 2 limit "${options[@]}" --train.on_nan=skip --train.nan_limit=2
expect limit.log 'is not finite .*after 2 steps in a row'

for n in 1 2; do
    begin base back$n
    train $n back$n "${options[@]}" --train.on_nan=rollback
done
expect back2.log 'step 11 is not finite .*goes back to the last checkpoint'
expect back2.log 'rolled back  to the checkpoint of step 9'
same back1 back2 1e-3 1e-2
if cmp -s back2/metrics.jsonl skip2/metrics.jsonl; then echo "nothing was rolled back"; exit 1; fi
begin base gone
train 2 gone "${options[@]}" --train.on_nan=rollback --train.steps=14 --schedule.decay_steps=24
train 2 gone "${options[@]}" --train.on_nan=rollback
sed -i '/"step": 14,.*"validation_loss"/d' gone/metrics.jsonl
same back2 gone 0

# A global batch of one word only, whose gradients all point one way: the steps before tell, also those from
# before a resume.
awk 'NR > 120 && NR <= 132 { $0 = "zyzzyva"; for (i = 0; i < 5; i++) $0 = $0 " " $0 } 1' train.txt >odd.txt
spikes=(--data.train=odd.txt --train.spike_sigma=6 --train.spike_window=8)
train 1 spike1 "${options[@]}" "${spikes[@]}"
train 2 spike2 "${options[@]}" "${spikes[@]}"
train 2 spiked "${options[@]}" "${spikes[@]}" --train.steps=9 --schedule.decay_steps=24
train 2 spiked "${options[@]}" "${spikes[@]}"
for run in spike1 spike2 spiked; do
    expect $run.log 'step 11 is a spike: loss'
    [ "$(grep -c '"event": "spike"' $run/metrics.jsonl)" = 1 ]
done
same spike1 spike2 1e-3 1e-2
sed -i '/"step": 9,.*"validation_loss"/d' spiked/metrics.jsonl
same spike2 spiked 0
