# pipe.sh - training on what comes through a pipe: the same on 1, 2 and 3 ranks, of plain and packed text,
# lines and windows of tokens; killed and started again it is the uninterrupted run, bit for bit; its end
# is the run's, and what is wrong with it an error that says so.
# usage: pipe.sh [KILLS]      default 2
set -eu
. "$(dirname "$0")/common.sh"
kills=${1:-2}
rm -rf run-* text ./*.fifo
make_text
for i in 1 2 3 4 5 6 7 8 9 10 11 12; do cat train.txt; done >text
zstd -q -f -o text.zst text
gzip -c text >text.gz
options=(--train.steps=40 --validation.every_steps=20 --sampling.every_epochs=0 --data.pipe_window=100)

# piped COMMAND RANKS FOLDER [OPTIONS...]: trains on what the command writes
piped() {
    local writer=$1
    shift
    eval "$writer" | train "$@" --data.train=-
}

# refused TEXT FOLDER: that the run ended with an error that says so
refused() {
    grep -q "$1" "$2.log" || { echo "$2 does not say \"$1\":"; tail -5 "$2.log"; exit 1; }
}

# 1, 2, 3 ranks; packed or not; a pipe or a fifo.
piped 'cat text' 1 run-one "${options[@]}"
piped 'cat text.zst' 2 run-two "${options[@]}"
piped 'cat text.gz' 3 run-three "${options[@]}" --train.micro_batch=2
mkfifo text.fifo
cat text.zst >text.fifo &
train 2 run-fifo "${options[@]}" --data.train=text.fifo
wait
same run-one run-two 1e-5
same run-one run-three 1e-5
same run-two run-fifo 0

# In the order in which they come, samples are those of the file. So are windows of tokens.
piped 'cat train.txt' 2 run-order --train.steps=17 --data.shuffle=false
train 2 run-file --train.steps=17 --data.shuffle=false
same run-order run-file 0
for part in text valid.txt; do
    mpirun --oversubscribe --bind-to none -n 2 "$GALLEY" tokenize --output "run-shards-$part" \
        --vocabulary vocabulary.txt --lowercase "$part" >"run-shards-$part.log" 2>&1
done
tokens=(--train.steps=30 --data.shuffle=false --data.kind=tokens --data.mask_documents=true
    --data.restart_positions=true --data.validation=run-shards-valid.txt/train-00000.h5)
piped 'cat text.zst' 2 run-packed "${tokens[@]}"
train 2 run-packed-file "${tokens[@]}" --data.train='run-shards-text/train-*.h5'
same run-packed run-packed-file 0
sed -e 's/"/\\"/g' -e 's/.*/{"document": "&"}/' text >text.jsonl
cat text.jsonl | train 2 run-json "${tokens[@]}" --data.train=-.jsonl --data.field=document
same run-packed run-json 0

# Killed and started again with the same stream.
killed() {
    local reference=$1 folder=$2
    shift 2
    for i in $(seq "$kills"); do
        (piped 'cat text.zst' 2 "$folder" "$@" --checkpoint.every_steps=3 || true) 2>/dev/null &
        sleep "$(awk -v r=$RANDOM 'BEGIN { print 0.8 + r / 32768 }')"
        victim=$(pgrep -n -f "run.folder=$folder" || true)
        [ -z "$victim" ] || kill -9 "$victim" 2>/dev/null || true
        wait
    done
    piped 'cat text.zst' 2 "$folder" "$@" --checkpoint.every_steps=3
    same "$reference" "$folder" 0
}
killed run-two run-killed "${options[@]}"
packed=("${tokens[@]}" --data.shuffle=true --data.pipe_window=40)
piped 'cat text.zst' 1 run-tokens "${packed[@]}" --train.steps=20
piped 'cat text.zst' 2 run-tokens-two "${packed[@]}" --train.steps=20
same run-tokens run-tokens-two 1e-5
piped 'cat text.zst' 2 run-tokens-whole "${packed[@]}" --train.steps=100
killed run-tokens-whole run-tokens-killed "${packed[@]}" --train.steps=100

# The stream ends before the steps: a last short batch, validation and checkpoint. 200 samples of 12.
ends=(--train.steps=40 --data.pipe_window=60 --validation.every_epochs=1)
piped 'cat train.txt' 2 run-ends "${ends[@]}"
[ -s run-ends/checkpoints/step-00000017.h5 ]
grep -q '"samples": 200,' run-ends/metrics.jsonl
losses run-ends | grep -q '^17 v ' || { echo "no validation after the last step"; exit 1; }
# Nothing more came: nothing to do. More of it came: it goes on, and each sample was there once.
piped 'cat train.txt' 2 run-ends "${ends[@]}"
grep -q resuming run-ends.log
piped 'cat train.txt train.txt' 1 run-ends "${ends[@]}"
grep -q '"samples": 400,' run-ends/metrics.jsonl

# A slow writer is waited for, and the wait is counted.
piped '(head -c 20000 text; sleep 2; tail -c +20001 text)' 2 run-slow --train.steps=20 --data.shuffle=false
waited=$(sed -nE 's/.*"data_wait_ms": ([^,]+),.*/\1/p' run-slow/metrics.jsonl | awk '{ s += $1 } END { print int(s) }')
[ "$waited" -ge 1000 ] || { echo "waited $waited ms"; exit 1; }

# One that dies in the middle of a packed stream is an error; the whole stream again goes on from the last
# checkpoint. A wish to stop while nothing comes saves what there is.
piped 'head -c $(($(stat -c %s text.gz) / 2)) text.gz' 2 run-dies --train.steps=400 \
    --checkpoint.every_steps=5 --data.pipe_window=12 && { echo "a cut stream was taken"; exit 1; }
refused 'standard input is truncated' run-dies
piped 'cat text.gz' 2 run-dies --train.steps=60 --checkpoint.every_steps=5 --data.pipe_window=12
refused 'resuming  after step' run-dies
(
    head -c 20000 text
    sleep 3
    kill -USR1 "$(pgrep -o -f 'mpirun.*run.folder=run-stop')"    # which tells all ranks
    sleep 1
) | train 2 run-stop --train.steps=400 --data.shuffle=false --data.train=- &&
    { echo "a run that was asked to stop ended well"; exit 1; }
refused 'asked to stop by SIGUSR1; the state is saved' run-stop
ls run-stop/checkpoints | grep -q step-

# What cannot be.
bad() {
    local says=$1 writer=$2
    shift 2
    rm -rf run-bad
    if eval "$writer" | "$GALLEY" train tiny.yaml --run.folder=run-bad --data.train=- "$@" >run-bad.log 2>&1
    then
        echo "not refused: $says"
        exit 1
    fi
    refused "$says" run-bad
}
bad 'so train.epochs cannot be followed' 'cat text'
bad 'which is a pipe, and data.weights' 'cat text' --train.steps=5 --data.weights=1
bad 'so it must be files' 'cat text' --train.steps=5 --data.validation=-
bad 'no vocabulary can be learned' 'cat text' --train.steps=5 --tokenizer.vocabulary=
bad 'standard input is empty' 'true' --train.steps=5
bad 'a NUL byte' 'head -c 100000 /dev/zero' --train.steps=5
bad 'holds token' 'head -c 100000 /dev/urandom' --train.steps=5 --data.kind=tokens
if piped 'cat valid.txt' 2 run-two "${options[@]}" --train.steps=50; then exit 1; fi
refused 'standard input ends after' run-two
if piped 'cat valid.txt text' 2 run-two "${options[@]}" --train.steps=50; then exit 1; fi
refused 'is not what the run was trained on' run-two
piped 'cat text' 2 run-plan --train.steps=5 --dry-run
refused 'standard input to train on as it comes' run-plan
