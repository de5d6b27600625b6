# dropout.sh - with dropout on, GPT-2 trains alike on 1, 2 and 3 ranks, with micro-batches, and from a
# checkpoint bit for bit: masks depend on the sample and the step, not on who draws them.
set -eu
. "$(dirname "$0")/common.sh"
rm -rf one two three micro halves without
make_text
gpt2=(--model.family=gpt2 --model.dropout=0.2 --train.steps=20 --validation.every_steps=10
    --schedule.decay_steps=20)

train 1 one "${gpt2[@]}"
train 2 two "${gpt2[@]}"
train 3 three "${gpt2[@]}"
train 2 micro "${gpt2[@]}" --train.micro_batch=2
for other in two three micro; do
    same one "$other" 1e-5
done

train 2 halves "${gpt2[@]}" --train.steps=9 --validation.every_steps=0 --validation.every_epochs=0
train 2 halves "${gpt2[@]}"
same two halves 0

# And it does something: without it the losses are others.
train 2 without "${gpt2[@]}" --model.dropout=0
if (same one without 1e-3) >/dev/null 2>&1; then
    echo "dropout 0.2 changed nothing"
    exit 1
fi
