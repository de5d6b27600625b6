# common.sh - tiny runs on the simulated GPU; sourced by the scripts here. The program is their first argument.
GALLEY=$1
shift
. "$(dirname "$0")/../ranks/common.sh"

# A text, and a model so small that a step takes a tenth of a second; its heads of 10 channels are padded.
make_run() {
    "$GALLEY" corpus --sentences 300 --seed 3 --output train.txt 2>/dev/null
    "$GALLEY" corpus --sentences 6 --seed 4 --output valid.txt 2>/dev/null
    "$GALLEY" vocab --size 150 --lowercase --output vocabulary.txt train.txt 2>/dev/null
    cat >tiny.yaml <<'END'
model:
    vocabulary_size: 160
    channels: 32
    heads: 3
    feed_forward: 24
    layers: 2
tokenizer:
    vocabulary: vocabulary.txt
data:
    train: train.txt
    validation: valid.txt
    sequence_length: 24
    min_bytes: 1
train:
    global_batch: 4
    log_every_steps: 1
    check_every_steps: 3
optimizer:
    learning_rate: 0.003
    clip_norm: 1.0
sampling:
    every_epochs: 0
device:
    kind: cuda
    threads: 1
END
}
