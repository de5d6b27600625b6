#!/bin/bash
# generate.sh - galley generate: texts on standard output and nothing else, one clear line of error.
# usage: generate.sh MAKE_RUN, in a folder of its own, with the program in $GALLEY.
set -u
make_run=$1
rm -rf run broken failures
"$make_run" run || exit 1

# Into a file, since some run in subshells.
fail() {
    echo "FAILED: $*" | tee -a failures >&2
}

# text ARGUMENT...: what the program prints; it must succeed and say nothing on standard error.
text() {
    "$GALLEY" generate "$@" 2>errors || fail "generate $*: exit code $?"
    [ -s errors ] && fail "generate $*: $(cat errors)"
    return 0
}

# refuse CODE PART ARGUMENT...: must end with that code, one line that contains PART, and no text.
refuse() {
    local code=$1 part=$2 got
    shift 2
    "$GALLEY" generate "$@" >texts 2>errors
    got=$?
    [ $got -eq "$code" ] || fail "generate $*: exit code $got, expected $code"
    [ -s texts ] && fail "generate $*: printed $(cat texts)"
    [ "$(wc -l <errors)" -eq 1 ] || fail "generate $*: more than a line: $(cat errors)"
    grep -qF -- "$part" errors || fail "generate $*: \"$part\" is not in: $(cat errors)"
}

same() {
    [ "$1" = "$2" ] || fail "$3: \"$1\", expected \"$2\""
}

# The prompt stands at the beginning, in the vocabulary's own spelling.
case $(text run --prompt "The Cat" --sampler greedy) in
"the cat"*) ;;
*) fail "the text does not begin with its prompt" ;;
esac

# The same seed gives the same text, another seed another; rows do not depend on how many there are.
random=(run --prompt the --sampler random --temperature 2)
same "$(text "${random[@]}" --seed 3)" "$(text "${random[@]}" --seed 3)" "same seed"
[ "$(text "${random[@]}" --seed 3)" = "$(text "${random[@]}" --seed 4)" ] && fail "two seeds, one text"
text "${random[@]}" --count 20 >twenty
same "$(wc -l <twenty)" 20 "--count 20"
same "$(head -n 3 twenty)" "$(text "${random[@]}" --count 3)" "the first rows"
same "$(text "${random[@]}" --count 3 --threads 1)" "$(text "${random[@]}" --count 3 --threads 2)" "threads"

# Which checkpoint: the newest, the best, the one that is named.
same "$(text run --json | grep -o '"step":[0-9]*')" '"step":20' "the newest"
same "$(text run --best --json | grep -o '"step":[0-9]*')" '"step":10' "the best"
same "$(text run --best)" "$(text run/checkpoints/step-00000010.h5)" "a file"
[ "$(text run --best)" = "$(text run)" ] && fail "two checkpoints, one text"

# JSON lines tell the settings.
for line in '"sampler":"top_k","k":5,"temperature":1,"seed":1,"row":0,"max_length":24,"prompt":""' \
            '"sampler":"top_k","k":5,"temperature":1,"seed":1,"row":1,"max_length":24,"prompt":""'; do
    text run --json --count 2 | grep -F "$line" >/dev/null || fail "no line with $line"
done
text run --json --sampler beam | grep '"beams":5,.*"log_probability":-' >/dev/null ||
    fail "no beam score"

# Prompts from everywhere, in batches of any size, give what each gives alone.
printf 'the cat\n{"prompt":"the dog"}\nthe\n' >prompts
text run --prompt "the cat" --prompt "the dog" --prompt the --sampler random --seed 5 >alone
for batch in 1 2 16; do
    same "$(text run --prompts prompts --sampler random --seed 5 --batch $batch)" "$(cat alone)" "--batch $batch"
done
same "$("$GALLEY" generate run --prompts - --sampler random --seed 5 <prompts)" "$(cat alone)" "standard input"
same "$(text run --prompts prompts --sampler random --seed 5 --stream)" "$(cat alone)" "--stream"

# Without the prompt; as ids, which go in and come out.
greedy=(run --prompt "the cat" --sampler greedy --max-length 12)
same "the cat$(text "${greedy[@]}" --strip-prompt)" "$(text "${greedy[@]}")" "--strip-prompt"
same "the cat$(text "${greedy[@]}" --strip-prompt --stream)" "$(text "${greedy[@]}")" "--strip-prompt --stream"
ids=$(text run --token-ids 2,9,8 --sampler greedy --max-length 12 --stop none)
same "$(wc -w <<<"$ids")" 12 "--token-ids"
case $ids in "2 9 8 "*) ;; *) fail "ids begin with $ids" ;; esac
same "$(text run --token-ids 2,9,8 --sampler greedy --max-length 12 --stop none --stream)" "$ids" "ids streamed"
fourth=$(cut -d ' ' -f 4 <<<"$ids")
same "$(text run --token-ids 2,9,8 --sampler greedy --max-length 12 --stop "$fourth")" "2 9 8 $fourth" "--stop"
echo '{"token_ids": [2, 9, 8, 0, 0], "padding_mask": [1, 1, 1, 0, 0]}' >masked
same "$(text run --prompts masked --sampler greedy --max-length 12 --stop none)" "$ids" "padding_mask"
text run --prompts masked --json --max-length 5 --stop none |
    grep -q '"token_ids":\[2,9,8,[0-9]*,[0-9]*\],"padding_mask":\[1,1,1,1,1\]' || fail "ids as JSON"

# All beams, best first; contrastive search.
same "$(text run --sampler beam --beams 3 --all-beams --json | grep -c log_probability)" 3 "--all-beams"
same "$(text run --sampler beam --beams 3 --all-beams | head -n 1)" "$(text run --sampler beam --beams 3)" "the best beam"
text run --prompt the --sampler contrastive --k 3 --json | grep -q '"k":3,"alpha":0.6' || fail "contrastive"

# --max-length counts tokens, [BOS] and prompt included.
same "$(text run --prompt 'the cat' --max-length 3 --sampler greedy)" "the cat" "nothing to add"
"$GALLEY" generate run --prompt "the cat sat on" --max-length 3 >texts 2>errors || fail "a long prompt"
same "$(cat texts)" "the cat" "a cut prompt"
grep -q "longer than 3 tokens" errors || fail "no warning of a cut prompt"

refuse 2 "one run folder, checkpoint or preset" --prompt the
refuse 2 "one run folder, checkpoint or preset" run the cat
refuse 2 "greedy, random, top_k, top_p, beam or contrastive" run --sampler best
refuse 2 "no option --bogus" run --bogus
refuse 2 "--k is \"0\"" run --k 0
refuse 2 "--p is \"1.5\"" run --sampler top_p --p 1.5
refuse 2 "--temperature is \"0\"" run --temperature 0
refuse 2 "--seed means nothing to the sampler greedy" run --sampler greedy --seed 1
refuse 2 "--beams means nothing to the sampler top_k" run --beams 3
refuse 2 "24 positions" run --max-length 25
refuse 2 "--alpha means nothing" run --alpha 0.5
refuse 2 "--stream prints text as it is decided" run --stream --json
refuse 2 "no list of token ids" run --token-ids 1,x
refuse 2 "--stop is auto, none or ids" run --stop never
refuse 1 "token id 99999 is not among" run --token-ids 99999
refuse 1 "cannot read the prompts in nowhere" run --prompts nowhere
for line in '{"token_ids": []}' '{"token_ids": [1], "padding_mask": [0]}' '{"token_ids": [1.5]}' '{"prompt"' '{}'; do
    echo "$line" >bad
    refuse 1 "bad:1" run --prompts bad
done
: >empty
refuse 1 "empty has no prompt" run --prompts empty
refuse 2 "no device \"abacus\"" run --device abacus
refuse 1 "nowhere" nowhere
mkdir -p broken
cp run/checkpoints/step-00000010.h5 broken/
printf 'XXXX' | dd of=broken/step-00000010.h5 bs=1 seek=60000 conv=notrunc 2>/dev/null
refuse 1 "step-00000010.h5" broken/step-00000010.h5

[ ! -e failures ]
