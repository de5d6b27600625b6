# pipe_waits.sh - a pipe that pauses is waited for, as is one that is read over slowly; one that sends
# nothing for too long is named; a failure does not wait for it.
set -eu
. "$(dirname "$0")/piped.sh"
rm -rf run-* text gone
make_text
for i in 1 2 3 4; do cat train.txt; done >text
options=(--data.shuffle=false --data.validation= --sampling.every_epochs=0)

# begun FOLDER: waits until the run has told of its second step
begun() {
    for i in $(seq 300); do
        if grep -qs '^step 2/' "$1.log"; then return; fi
        sleep 0.2
    done
}

# For longer than a step may last.
piped '(head -c 60000 text; begun run-pause; sleep 7; tail -c +60001 text)' 2 run-pause "${options[@]}" \
    --train.steps=20 --deadline.answer=3 --deadline.step=3

# Not for ever.
if piped '(head -c 60000 text; begun run-stall; sleep 4; cat text)' 2 run-stall "${options[@]}" --train.steps=20 \
    --deadline.data=2; then
    echo "a pipe that sends nothing was waited for"
    exit 1
fi
grep -q 'has sent nothing for 2 s, after 60000 bytes, and the run waits for it; .* raise deadline.data' run-stall.log ||
    { cat run-stall.log; exit 1; }

# What is read over on resume is progress, however slowly it comes: here in 5 s, for 3 of which nothing may come.
piped 'cat text' 2 run-over "${options[@]}" --train.steps=40
slowly() {
    for i in 0 1 2 3 4; do
        tail -c "+$((i * 100000 + 1))" text | head -c 100000
        sleep 1
    done
    tail -c +500001 text
}
piped slowly 2 run-over "${options[@]}" --train.steps=45 --deadline.answer=3 --deadline.step=3 --deadline.data=3
[ -s run-over/checkpoints/step-00000045.h5 ] || { echo "it did not go on"; exit 1; }

# What fails on rank 0 ends the run before the pipe is asked again, which says nothing for a minute: a step takes 12
# lines; the pipe is waited for when there are no more checkpoints, and two steps later rank 0 knows.
spoil() {
    for i in $(seq 300); do
        if grep -qs '^checkpoint  step 5 ' run-spoilt.log; then break; fi
        sleep 0.2
    done
    mv run-spoilt/checkpoints gone
    touch run-spoilt/checkpoints
}
start_s=$SECONDS
if piped '(head -n 73 text; spoil; tail -n +74 text | head -n 24; sleep 60)' 2 run-spoilt "${options[@]}" \
    --train.steps=400 --checkpoint.every_steps=1; then
    echo "it went on without checkpoints"
    exit 1
fi
grep -q 'galley: on rank 0 .*: writing the checkpoint of step .*run-spoilt/checkpoints/.*: Not a directory' \
    run-spoilt.log || { cat run-spoilt.log; exit 1; }
[ $((SECONDS - start_s)) -lt 45 ] || { echo "a failure waited for the pipe"; exit 1; }
