# common.sh - a tiny run over MPI ranks, and comparing what it logged; sourced by the scripts here.

# Text and vocabulary, made once in the working folder.
make_text() {
    "$GALLEY" corpus --sentences 2400 --seed 3 --output train.txt 2>/dev/null
    "$GALLEY" corpus --sentences 240 --seed 4 --output valid.txt 2>/dev/null
    "$GALLEY" vocab --size 500 --lowercase --output vocabulary.txt train.txt 2>/dev/null
    cat >tiny.yaml <<'END'
model:
    vocabulary_size: 600
    channels: 32
    heads: 3
    feed_forward: 24
    layers: 2
tokenizer:
    vocabulary: vocabulary.txt
data:
    train: train.txt
    validation: valid.txt
    sequence_length: 64
    min_bytes: 1
train:
    global_batch: 12
    log_every_steps: 1
    check_every_steps: 5
optimizer:
    learning_rate: 0.003
    clip_norm: 1.0
device:
    threads: 1
END
}

# train RANKS FOLDER [--section.key=value...]: output in FOLDER.log
train() {
    local ranks=$1 folder=$2
    shift 2
    mpirun --oversubscribe --bind-to none --timeout 120 -n "$ranks" "$GALLEY" train tiny.yaml \
        "--run.folder=$folder" "$@" >"$folder.log" 2>&1
}

# losses FOLDER: step, loss (or validation loss and perplexity), gradient norm, as they were logged
losses() {
    sed -nE -e 's/.*"step": ([0-9]+),.*"loss": ([^,]+), "perplexity": ([^,]+),.*"grad_norm": ([^,]+),.*/\1 \2 \3 \4/p' \
        -e 's/.*"step": ([0-9]+),.*"validation_loss": ([^,]+), "validation_perplexity": ([^,}]+).*/\1 v \2 \3/p' \
        "$1/metrics.jsonl"
}

# same FOLDER FOLDER TOLERANCE [NORM-TOLERANCE]: every number within the relative tolerance, gradient norms
# within their own, if it is given; 0: the same text
same() {
    losses "$1" >first.losses
    losses "$2" >second.losses
    [ -s first.losses ] || { echo "$1 logged nothing"; exit 1; }
    if [ "$3" = 0 ]; then
        diff first.losses second.losses || { echo "$1 and $2 differ"; exit 1; }
        return
    fi
    [ "$(wc -l <first.losses)" = "$(wc -l <second.losses)" ] || {
        echo "$1 and $2 logged different numbers of rows"; exit 1; }
    paste -d ' ' first.losses second.losses | awk -v bound="$3" -v norm_bound="${4:-$3}" '{
        half = NF / 2
        for (i = 1; i <= half; i++) {
            a = $i; b = $(i + half)
            if (a == "v") continue
            d = a - b; if (d < 0) d = -d
            m = a < 0 ? -a : a
            if (d > ($2 != "v" && i == 4 ? norm_bound : bound) * m) { print "differs:", $0; bad = 1 }
        }
    } END { exit bad }' || { echo "$1 and $2 differ by more than $3"; exit 1; }
}
