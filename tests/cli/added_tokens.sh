# added_tokens.sh - a run goes on with the added tokens it was begun with; one begun when they were left out, or
# were entries of the vocabulary, is refused with the way to go on.
set -eu
rm -rf run-* words merged other log
cat >texts.txt <<'END'
the king and the queen
what say <own> you
I know not what to say of him
a horse a horse my kingdom for a horse
END
cat >run.yaml <<'END'
data:
    train: texts.txt
    sequence_length: 16
    min_bytes: 1
tokenizer:
    kind: bpe
model:
    vocabulary_size: 261
    channels: 16
    heads: 2
    layers: 1
    feed_forward: 16
train:
    global_batch: 2
sampling:
    every_epochs: 0
device:
    threads: 1
END

fail() { echo "FAILED: $*"; cat log; exit 1; }
# train RUN VOCABULARY STEPS
train() {
    "$GALLEY" train run.yaml --run.folder="run-$1" --tokenizer.vocabulary="$2" --train.steps="$3" >log 2>&1
}
# goes_on RUN VOCABULARY
goes_on() {
    train "$1" "$2" 2 || fail "run-$1 does not go on with \"$2\""
    grep -q "resuming  after step 1" log || fail "run-$1 began anew"
}
# refused RUN VOCABULARY PART
refused() {
    if train "$1" "$2" 2; then fail "run-$1 went on with $2"; fi
    [ "$(grep -c '^galley: ' log)" = 1 ] && grep -qF -- "$3" log || fail "no error with \"$3\""
}
# list_token FOLDER CONTENT: with tokenizer.json beside its two files
list_token() {
    printf '{"added_tokens": [{"id": 260, "content": "%s"}], "pre_tokenizer": {"type": "ByteLevel"},
        "model": {"type": "BPE", "vocab": %s, "merges": []}}' "$2" "$(cat "$1/vocab.json")" >"$1/tokenizer.json"
}

"$GALLEY" vocab --kind bpe --size 260 --end-token-last --output words texts.txt 2>log
cp -r words merged
cp -r words other
sed -i 's/}[[:space:]]*$/, "<own>": 260}/' merged/vocab.json
for run in left-out:words merged:merged; do
    train "${run%:*}" "${run#*:}" 1 || fail "no run with ${run#*:}"
done
list_token words "<own>"
list_token other "<other>"

for run in left-out merged; do
    refused $run words "begun by an earlier version"
    grep -q "leave tokenizer.vocabulary out" log || fail "it does not say how to go on"
    goes_on $run ""
done
refused merged other "with another vocabulary than other; set tokenizer.vocabulary back"

train now words 1 || fail "no run with words"
refused now other "with another vocabulary than other; set tokenizer.vocabulary back"
goes_on now words
