# equal.sh - 1, 2, 3 and 4 ranks train alike, also when the last global batch of an epoch is short, and
# with gradients accumulated over micro-batches.
set -eu
. "$(dirname "$0")/common.sh"
rm -rf one two three four micro
make_text

# 200 samples in batches of 12: 17 steps an epoch, the last of 8.
for n in one:1 two:2 three:3 four:4; do
    train "${n#*:}" "${n%:*}" --train.steps=20 --validation.every_steps=10
done
train 2 micro --train.steps=20 --validation.every_steps=10 --train.micro_batch=2

for other in two three four micro; do
    same one "$other" 1e-5
done
# 20 steps; validated at 10, at the end of the first epoch, and at 20.
[ "$(losses one | wc -l)" = 23 ]
