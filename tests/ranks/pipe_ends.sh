# pipe_ends.sh - a pipe's end is the run's, a slow writer is waited for, and what is wrong with a stream is
# an error that says so.
set -eu
. "$(dirname "$0")/piped.sh"
rm -rf run-* text*
make_text
for i in 1 2 3 4 5 6; do cat train.txt; done >text
gzip -c text >text.gz

# trained FOLDER: waits until the run has told of its second step
trained() {
    for i in $(seq 300); do
        if grep -qs '^step 2/' "$1.log"; then return; fi
        sleep 0.2
    done
}

# refused TEXT FOLDER: that the run ended with an error that says so
refused() {
    grep -q "$1" "$2.log" || { echo "$2 does not say \"$1\":"; tail -5 "$2.log"; exit 1; }
}

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

# Its batches are gone with it.
if "$GALLEY" inspect run-ends --batch 0 >run-batch.log 2>&1; then echo "a batch of a pipe was shown"; exit 1; fi
refused 'trained on what came through a pipe .*, of which no batch can be shown again' run-batch
"$GALLEY" inspect run-ends | grep -q '^trained on a pipe: window ' || { echo "inspect shows no pipe"; exit 1; }

# A slow writer is waited for, and the wait is counted.
piped '(head -c 60000 text; trained run-slow; sleep 2; tail -c +60001 text)' 2 run-slow --train.steps=20 --data.shuffle=false
waited=$(sed -nE 's/.*"data_wait_ms": ([^,]+),.*/\1/p' run-slow/metrics.jsonl | awk '{ s += $1 } END { print int(s) }')
[ "$waited" -ge 1000 ] || { echo "waited $waited ms"; exit 1; }

# One that dies in the middle of a packed stream is an error; the whole stream again goes on from the last
# checkpoint. A wish to stop while nothing comes saves what there is.
piped 'head -c $(($(stat -c %s text.gz) / 2)) text.gz' 2 run-dies --train.steps=400 \
    --checkpoint.every_steps=5 --data.pipe_window=12 && { echo "a cut stream was taken"; exit 1; }
refused 'is truncated' run-dies
piped 'cat text.gz' 2 run-dies --train.steps=60 --checkpoint.every_steps=5 --data.pipe_window=12
refused 'resuming  after step' run-dies
then_stops() {
    head -c 60000 text
    trained run-stop
    kill -USR1 "$(pgrep -o -f "(mpirun|prterun) .*$GALLEY .*run.folder=run-stop")"    # which tells all ranks
    sleep 1
}
piped then_stops 2 run-stop --train.steps=400 --data.shuffle=false &&
    { echo "a run that was asked to stop ended well"; exit 1; }
refused 'asked to stop by SIGUSR1; the state is saved' run-stop
[ -s "run-stop/checkpoints/step-$(printf %08d "$(losses run-stop | tail -1 | cut -d ' ' -f 1)").h5" ]

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
bad 'a NUL byte' 'head -c 100000 /dev/zero' --train.steps=5 --data.kind=lines
bad 'bare tokens (uint16) want data.kind=tokens' 'head -c 100000 /dev/zero' --train.steps=5
bad 'holds token' 'head -c 100000 /dev/urandom' --train.steps=5 --data.kind=tokens \
    --data.validation=
bad_again() {
    local says=$1 writer=$2
    if piped "$writer" 2 run-slow --train.steps=30 --data.shuffle=false; then exit 1; fi
    refused "$says" run-slow
}
bad_again 'again from its beginning' 'cat valid.txt'
bad_again 'is not what the run was trained on' 'cat valid.txt text'
# Unless that is allowed: then it goes on behind as many bytes.
piped 'cat valid.txt text' 2 run-slow --train.steps=30 --data.shuffle=false --run.allow_changed_data=true
refused 'As run.allow_changed_data is set, the run goes on with what comes behind them' run-slow
refused 'resuming  after step 20' run-slow
piped 'cat text' 2 run-plan --train.steps=5 --dry-run
refused 'to train on as it comes' run-plan
cat text | train 2 run-carried --train.steps=5 --data.train=- && { echo "took standard input of mpirun"; exit 1; }
refused 'make a fifo' run-carried
# Of one rank without mpirun it is what a fifo is.
"$GALLEY" train tiny.yaml --run.folder=run-alone "${ends[@]}" --data.train=- <train.txt >run-alone.log 2>&1
piped 'cat train.txt' 1 run-fifo "${ends[@]}"
same run-alone run-fifo 0
