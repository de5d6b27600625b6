# pipe.sh - training on what comes through a pipe: the same on 1, 2 and 3 ranks, of plain and packed text,
# lines and windows of tokens; killed and started again it is the uninterrupted run, bit for bit.
# usage: pipe.sh [KILLS]      default 2
set -eu
. "$(dirname "$0")/piped.sh"
kills=${1:-2}
rm -rf run-* text ./*.fifo
make_text
for i in 1 2 3 4 5 6; do cat train.txt; done >text
zstd -q -f -o text.zst text
gzip -c text >text.gz
options=(--train.steps=40 --validation.every_steps=20 --sampling.every_epochs=0 --data.pipe_window=100)

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
ending=.jsonl
piped 'cat text.jsonl' 2 run-json "${tokens[@]}" --data.field=document
ending=
same run-packed run-json 0

# What is too short to be a sample, at the end of the stream, is no part of the place where a run goes on:
# here within the last window, which is not full.
{ cat train.txt; printf 'so\nit\nends\n'; } >tail
short=(--data.pipe_window=100 --sampling.every_epochs=0 --data.validation= --data.min_bytes=20)
piped 'cat tail' 1 run-tail "${short[@]}" --train.steps=1000
last=$(sed -nE 's/.*"step": ([0-9]+),.*"grad_norm".*/\1/p' run-tail/metrics.jsonl | tail -n 1)
piped 'cat tail' 2 run-tail-two "${short[@]}" --train.steps=$((last - 1))
piped 'cat tail' 1 run-tail-two "${short[@]}" --train.steps=1000
same run-tail run-tail-two 1e-4

# Killed and started again with the same stream.
killed() {
    local reference=$1 folder=$2
    shift 2
    for i in $(seq "$kills"); do
        (piped 'cat text.zst' 2 "$folder" "$@" --checkpoint.every_steps=3 || true) 2>/dev/null &
        sleep "$(awk -v r=$RANDOM 'BEGIN { print 0.8 + r / 32768 }')"
        victim=$(pgrep -n -f "$GALLEY .*run.folder=$folder" || true)
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
