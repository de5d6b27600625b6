# older_order.sh - a run on token files that was begun when these were in another order does not go on in the
# new one unless told; one on text, whose order is as it was, does.
# usage: older_order.sh AGE_CHECKPOINT
set -eu
. "$(dirname "$0")/common.sh"
rm -rf run-* tokens
make_text
"$GALLEY" tokenize --output tokens --vocabulary vocabulary.txt --lowercase train.txt 2>tokenize.log
options=(--train.steps=4 --checkpoint.every_steps=2 --sampling.every_epochs=0 --data.validation=)
tokens=(--data.train=tokens/train-00000.h5)
train 1 run-text "${options[@]}"
train 1 run-tokens "${options[@]}" "${tokens[@]}"
for folder in run-text run-tokens; do
    for file in $folder/checkpoints/*.h5; do "$1" "$file" 3; done
done
train 1 run-text "${options[@]}" --train.steps=6
if train 1 run-tokens "${options[@]}" "${tokens[@]}" --train.steps=6; then echo "it went on"; exit 1; fi
grep -q 'begun by an earlier version, which took the samples' run-tokens.log || { cat run-tokens.log; exit 1; }
"$GALLEY" inspect run-text --batch 1 >/dev/null
if "$GALLEY" inspect run-tokens --batch 1 2>shown; then echo "a batch of the new order"; exit 1; fi
grep -q 'took the samples .* in another order, so its batches cannot be told' shown || { cat shown; exit 1; }
train 1 run-tokens "${options[@]}" "${tokens[@]}" --train.steps=6 --run.allow_changed_data=true
train 1 run-tokens "${options[@]}" "${tokens[@]}" --train.steps=8    # its checkpoint is a new one
