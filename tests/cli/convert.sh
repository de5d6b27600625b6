#!/bin/bash
# convert.sh - galley convert: round trips are bit-identical, bad input is one line and leaves nothing behind.
# usage: convert.sh MAKE_RUN, in a folder of its own, with the program in $GALLEY; presets of GPT-2 from
# $GALLEY_FIXTURES where they are
set -u
verb=convert
. "$(dirname "$0")/common.sh"
make_run=$1
rm -rf ./*
"$make_run" run || exit 1

convert() {
    "$GALLEY" convert "$@" >out 2>errors || fail "convert $*: exit code $?: $(cat errors)"
}

# same_arrays A B: two HDF5 files hold the same arrays under GROUP.
same_arrays() {
    h5diff "$1" "$2" "$3" >differences 2>&1 || fail "$1 and $2 differ: $(cat differences)"
}

# The mini-GPT: a run's weights to Keras's file and back; optimizer and tokenizer stay behind, and say so.
convert run run.weights.h5 --to weights-h5
grep -q "optimizer's state stays behind" errors || fail "nothing about the optimizer: $(cat errors)"
"$GALLEY" inspect run.weights.h5 | grep -q "model: mini-gpt, vocabulary 16, positions 24" || fail "inspect"
cat >vocabulary.txt <<'END'
[PAD]
[UNK]
[BOS]
.
the
cat
END
convert run.weights.h5 again --to galley --tokenizer vocabulary.txt --lowercase
same_arrays run/checkpoints/step-00000020.h5 again/checkpoints/step-00000000.h5 /weights
"$GALLEY" generate again --prompt "The Cat" --sampler greedy --max-length 3 | grep -q "the cat" ||
    fail "the converted run does not generate"
"$GALLEY" generate run.weights.h5 --tokenizer vocabulary.txt --lowercase --prompt "the cat" \
    --sampler greedy --max-length 3 | grep -q "the cat" || fail "a file of weights does not generate"
convert run best.weights.h5 --to weights-h5 --best
h5diff -q run.weights.h5 best.weights.h5 >out 2>&1 && fail "the best is the newest"

refuse 2 "takes INPUT, OUTPUT and --to KIND" run
refuse 2 "--to is \"onnx\"" run refused --to onnx
refuse 2 "no preset for a model of the family mini-gpt" run refused --to keras
refuse 2 "no model of the family mini-gpt" run refused --to huggingface
refuse 2 "no number format \"fp8\"" run refused --to weights-h5 --dtype fp8
refuse 2 "mean nothing to --to galley" run refused --to galley --dtype bf16
refuse 2 "--shard-megabytes means nothing" run refused --to weights-h5 --shard-megabytes 1
refuse 2 "name a vocabulary with --tokenizer" run.weights.h5 refused --to galley
refuse 2 "is there already" run run.weights.h5 --to weights-h5
refuse 1 "nowhere" nowhere refused --to weights-h5
refuse 1 "cannot" run no-such-folder/refused --to weights-h5
convert run run.weights.h5 --to weights-h5 --overwrite
head -c 3000 run.weights.h5 >cut.weights.h5
refuse 1 "cut.weights.h5" cut.weights.h5 refused --to weights-h5

# GPT-2, where its fixtures are: round trips through a run are bit-identical.
for preset in "$GALLEY_FIXTURES"/gpt2/*/preset; do
    [ -e "$preset/config.json" ] || { echo "no GPT-2 fixtures: that part is left out"; break; }
    rm -rf from-keras to-keras to-hf back
    n=0
    convert "$preset" from-keras --to galley
    convert from-keras to-keras --to keras
    same_arrays "$preset/model.weights.h5" to-keras/model.weights.h5 /layers
    cmp "$preset/config.json" to-keras/config.json || fail "$preset: another config.json"
    convert "$preset" to-hf --to huggingface
    convert to-hf back --to keras
    same_arrays "$preset/model.weights.h5" back/model.weights.h5 /layers
    for model in "$preset" to-hf from-keras; do
        n=$((n + 1))
        "$GALLEY" generate "$model" --prompt "the king" --sampler greedy --max-length 12 >text$n ||
            fail "generate $model"
    done
    cmp text1 text2 && cmp text2 text3 || fail "$preset: one model, different texts"
done
for folder in "$GALLEY_FIXTURES"/hf/*/single; do
    [ -e "$folder/config.json" ] || break
    rm -rf from-hf to-hf
    convert "$folder" from-hf --to galley
    convert from-hf to-hf --to huggingface
    convert from-hf first.weights.h5 --to weights-h5 --overwrite
    convert to-hf second.weights.h5 --to weights-h5 --overwrite
    convert "$folder" third.weights.h5 --to weights-h5 --overwrite
    same_arrays first.weights.h5 second.weights.h5 /layers
    same_arrays first.weights.h5 third.weights.h5 /layers
done
if [ -e from-hf ]; then
    cp -r to-hf deep && { printf '[%.0s' $(seq 100000) >deep/config.json; } &&
        refuse 1 "deep/config.json is nested 100000 deep" deep refused --to keras
    cp -r to-hf merges && echo "zebra qqq" >>merges/merges.txt &&
        refuse 1 "merges" merges refused --to keras
    cp -r to-hf lies && printf '\377\377\377\377\377\377\377\177' |
        dd of=lies/model.safetensors conv=notrunc status=none &&
        refuse 1 "lies/model.safetensors says its header has" lies refused --to keras
    cp -r to-hf short && truncate -s -10 short/model.safetensors &&
        refuse 1 "cut off or is damaged" short refused --to keras
    touch to-hf/thesis.tex
    refuse 2 "holds thesis.tex" run to-hf --to galley --overwrite
fi

[ ! -e failures ]
