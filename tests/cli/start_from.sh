# start_from.sh - a run that starts from a preset: what it takes from it, what it refuses, and a resume
# that needs it no more.
set -eu
fixtures=${GALLEY_FIXTURES:-../shared/reference/fixtures}/gpt2/tiny
[ -d "$fixtures/preset" ] || { echo "skipped: no fixtures (GALLEY_FIXTURES)"; exit 77; }
rm -rf preset run again shorter words length
cp -r "$fixtures/preset" preset
chmod -R u+w preset
cat >texts.txt <<'END'
the king and the queen
what say you
I know not what to say of him
a horse a horse my kingdom for a horse
END
cat >tune.yaml <<'END'
run:
    start_from: preset
data:
    train: texts.txt
    sequence_length: 24
train:
    global_batch: 2
    steps: 4
device:
    threads: 1
END

train() {
    "$GALLEY" train tune.yaml "$@" >log 2>&1
}
# refused WORDS [--section.key=value...]: one error with these words
refused() {
    local words=$1
    shift
    if train --run.folder=refused "$@"; then
        echo "not refused: $*"
        exit 1
    fi
    [ "$(grep -c '^galley: ' log)" = 1 ] && grep -qF -- "$words" log || {
        echo "expected an error with \"$words\":"
        tail -n 3 log
        exit 1
    }
}

# Sizes, dropout and tokenizer are the preset's, and stand in the run's configuration.
train --run.folder=run --train.steps=2
for line in "family: gpt2" "vocabulary_size: 1000" "channels: 32" "max_positions: 32" "dropout: 0.1" \
    "kind: bpe" 'start_from: "preset"'; do
    grep -q "$line" run/config.yaml || { echo "run/config.yaml lacks $line"; exit 1; }
done
"$GALLEY" inspect run | grep -q "step 2" || { echo "the run did not save step 2"; exit 1; }

# What was given and differs is one error; what was given and is the same is none.
refused "feed_forward 128, expected 64" --model.feed_forward=64
refused "vocabulary_size 1000, expected 50257" --model.preset=gpt2_base_en
refused "less than data.sequence_length 33" --data.sequence_length=33
refused "do not fit the tokenizer" --tokenizer.kind=wordpiece
refused "has no tokenizer" --run.start_from="$fixtures/causal_lm.weights.h5" \
    --model.max_positions=32
refused "opening run.start_from" --run.start_from=nothing
train --run.folder=again --model.channels=32 --model.dropout=0
grep -q "dropout: 0$" again/config.yaml || { echo "dropout was not overridden"; exit 1; }

# Texts are as long as the preset's preprocessor says, or as the model has positions.
ids() { "$GALLEY" generate preset --token-ids 1,2,3 --stop none --sampler greedy --threads 1 | wc -w; }
samples() { "$GALLEY" evaluate preset texts.txt --threads 1 --json | sed -E 's/.*"tokens": ([0-9]*).*/\1/'; }
[ "$(ids)" = 24 ] || { echo "the preset's texts have 24 tokens, not $(ids)"; exit 1; }
whole=$(samples)
sed -i 's/"sequence_length": 24/"sequence_length": null/; s/"add_end_token": true/"add_end_token": false/' \
    preset/preprocessor.json
[ "$(ids)" = 32 ] || { echo "the model has 32 positions, not $(ids)"; exit 1; }
[ "$(samples)" = $((whole - 4)) ] || { echo "end tokens: $(samples) tokens after $whole"; exit 1; }
sed -i 's/"sequence_length": null/"sequence_length": 33/' preset/preprocessor.json
if "$GALLEY" generate preset --prompt a >log 2>&1; then echo "33 of 32 positions were taken"; exit 1; fi
grep -q '^galley: .*preprocessor.json: "sequence_length" is 33' log || { cat log; exit 1; }
cp "$fixtures/preset/preprocessor.json" preset

# Left out, the length of samples is the preset's, a run's own, or as many as the model has positions.
grep -v sequence_length tune.yaml >open.yaml
length() {    # length EXPECTED [--section.key=value...]
    rm -rf length
    "$GALLEY" train open.yaml --run.folder=length --train.steps=1 "${@:2}" >log 2>&1 || { cat log; exit 1; }
    grep -q "sequence_length: $1$" length/config.yaml || { echo "not $1: $(grep sequence_length length/config.yaml)"; exit 1; }
}
length 24
"$GALLEY" train open.yaml --run.folder=length --train.steps=2 >log 2>&1 || { cat log; exit 1; }
grep -q "resuming  after step 1" log || { echo "a run whose length is the preset's does not go on"; exit 1; }
sed -i 's/"add_end_token": true/"add_end_token": false/' preset/preprocessor.json
length 24
grep -q "end_token: false" length/config.yaml || { echo "the end token is not as the preset has it"; exit 1; }
rm -f preset/preprocessor.json
length 32
cp "$fixtures/preset/preprocessor.json" preset

# A vocabulary can be named for weights that have none.
train --run.folder=words --run.start_from="$fixtures/causal_lm.weights.h5" --model.heads=4 \
    --tokenizer.kind=bpe --tokenizer.vocabulary=preset --train.steps=1

# A resume goes on from the run's own, where the preset is no more; so does a run that starts from one.
rm -rf preset
train --run.folder=run
grep -q "resuming  after step 2" log || { echo "the run began anew"; exit 1; }
train --run.folder=shorter --run.start_from=run --data.sequence_length=16 --train.steps=1
grep -q "starting from  run" log || { echo "it did not start from the run"; exit 1; }
"$GALLEY" generate run --prompt "the king" --max-length 12 >story
length 16 --run.start_from=shorter
[ -s story ] || { echo "nothing was generated"; exit 1; }
