#!/bin/bash
# score.sh - galley score: its numbers are those of evaluate and of each other, whatever the number of ranks;
# bad input is one line and leaves nothing behind.
# usage: score.sh MAKE_RUN, in a folder of its own, with the program in $GALLEY
set -u
verb=score
. "$(dirname "$0")/common.sh"
make_run=$1
rm -rf ./*
"$make_run" run || exit 1

score() {
    "$GALLEY" score run --threads 1 "$@" >out 2>errors || fail "score $*: exit code $?: $(cat errors)"
}

# number NAME: a number of the summary, which is the last line
number() {
    tail -n 1 out | sed -nE "s/.*\"$1\": ([-0-9.e+]+).*/\1/p"
}

# member N NAME: what stands behind a name in row N, up to the next name
member() {
    sed -n "$1p" out | sed -E "s/.*\"$2\": (\[[^]]*\]|[^,}]*).*/\1/"
}

# near A B: equal to rounding
near() {
    awk -v a="$1" -v b="$2" 'BEGIN { d = a - b; exit !(a != "" && b != "" && d * d <= 1e-10 * (1 + b * b)) }' ||
        fail "$3: $1, expected $2"
}

# Texts: a row each, empty ones too; loss and accuracy are evaluate's on the same texts, whole ones.
printf 'the cat sat on a mat .\nthe dog saw the cats\na dog and a cat sat .\n' >texts.txt
score texts.txt
[ "$(wc -l <out)" -eq 4 ] || fail "not a row a text and a summary: $(cat out)"
[ "$(member 1 ids)" = "[4, 5, 6, 7, 8, 9, 3]" ] || fail "ids $(member 1 ids)"
[ "$(number tokens)" = 20 ] && [ "$(number bytes)" = 63 ] || fail "counts: $(tail -n 1 out)"
perplexity=$(number perplexity)
near "$("$GALLEY" evaluate run texts.txt --min-bytes 1 --sequence-length 24 --threads 1 --json |
    sed -nE 's/.*"perplexity": ([-0-9.e+]+).*/\1/p')" "$perplexity" "evaluate's perplexity"
near "$(awk -v l="$(number loss)" 'BEGIN { print l / log(2) * 20 / 63 }')" "$(number bits_per_byte)" \
    "bits per byte"
sum=$(for n in 1 2 3; do member $n log_likelihood; done | awk '{ s += $1 } END { printf "%.12g", -s / 20 }')
near "$sum" "$(number loss)" "the mean of the rows"

# The same as JSON, as ids, with empty ones between.
printf '%s\n' '{"text": "the cat sat on a mat ."}' '{"text": ""}' '{"text": ["the dog saw", " the cats"]}' \
    '{"text": null}' '{"id": 7, "text": "a dog and a cat sat ."}' >texts.jsonl
score texts.jsonl
[ "$(wc -l <out)" -eq 6 ] && [ "$(member 2 ids)" = "[]" ] || fail "empty texts: $(cat out)"
near "$(number perplexity)" "$perplexity" "texts as JSON"
printf '{"token_ids": [2, 4, 5, 6, 7, 8, 9, 3]}\n{"token_ids": [2, 4, 12, 11, 4, 5, 13]}\n{"token_ids": [2, 8, 12, 10, 8, 5, 6, 3]}' >ids.jsonl
score ids.jsonl
near "$(number perplexity)" "$perplexity" "texts as ids"

# A text longer than the 24 positions: the first window holds 24, each further one adds as many or --stride,
# and sees what stands before it.
for i in 1 2 3 4 5 6; do printf 'the cat sat on a mat . '; done >long.txt
score long.txt
[ "$(number tokens)" = 42 ] || fail "a long text: $(tail -n 1 out)"
long=$(member 1 log_likelihoods)
head -c 80 long.txt >beginning.txt
score beginning.txt
[ "$(member 1 tokens)" = 24 ] || fail "the beginning has $(member 1 tokens) tokens, expected 24"
beginning=$(member 1 log_likelihoods)
case $long in "${beginning%]}"*) ;; *) fail "a window changed the first tokens" ;; esac
score long.txt --stride 1
[ "$(number tokens)" = 42 ] && [ "$(member 1 log_likelihoods)" != "$long" ] || fail "--stride"
case $(member 1 log_likelihoods) in "${beginning%]}"*) ;; *) fail "--stride changed the first tokens" ;; esac
# The last token of windows of 24 is scored behind the 24 before it, whatever the stride: as ids alone.
last=$(member 1 log_likelihoods | sed -E 's/.*, (.*)\]/\1/')
printf '{"token_ids": [7, 8, 9, 3, 4, 5, 6, 7, 8, 9, 3, 4, 5, 6, 7, 8, 9, 3, 4, 5, 6, 7, 8, 9, 3]}\n' >end.jsonl
score end.jsonl
near "$(member 1 log_likelihoods | sed -E 's/.*, (.*)\]/\1/')" "$last" "the last token of a window"

# Last words: their tokens' share of the whole text's score, in greedy and in likelihood.
printf '{"text": "the cat sat on a mats"}\n{"text": "the dog"}\n{"text": "cat"}\n' >words.jsonl
score words.jsonl
for n in 1 2 3; do
    member $n log_likelihoods | tr -d '[],' | awk -v n=$n '{ print n == 1 ? $(NF - 1) + $NF : $NF }'
done >expected
score words.jsonl --kind lambada
[ "$(member 1 tokens) $(member 2 tokens)" = "2 1" ] || fail "the last words: $(cat out)"
for n in 1 2 3; do near "$(member $n log_likelihood)" "$(sed -n ${n}p expected)" "last word $n"; done
near "$(awk '{ s += $1 } END { printf "%.12g", exp(-s / 3) }' expected)" "$(number perplexity)" \
    "the perplexity of last words"
right=$(head -n 3 out | grep -c '"greedy": true')
near "$(number accuracy)" "$(awk -v r="$right" 'BEGIN { printf "%.12g", r / 3 }')" "accuracy of last words"

# Endings: each scores as what it adds to the context; recognised by content; labels as numbers or texts.
cat >endings.jsonl <<'END'
{"ctx": "the cat", "endings": ["sat on a mat", "saw", "the dog saw a cat", "dog dogs"], "label": 3}
{"ctx": "a dog", "endings": ["sat", "mat mat mat", "and a cat", "."], "label": "2"}
{"ctx": "the dog saw the", "endings": ["cat", "cats", "mat", "dog"], "label": 1}
END
score endings.jsonl
grep -q '"kind": "hellaswag"' out || fail "endings were not recognised: $(tail -n 1 out)"
cp out endings
sed -nE 's/.*"ctx": "([^"]*)", "endings": \["([^"]*)", "([^"]*)", "([^"]*)", "([^"]*)"\].*/\1 \2\n\1 \3\n\1 \4\n\1 \5/p' \
    endings.jsonl >whole.txt
score whole.txt
for n in 1 2 3 4 5 6 7 8 9 10 11 12; do
    member $n log_likelihoods | tr -d '[],' |
        awk -v c=$((n > 8 ? 4 : 2)) '{ for (i = c + 1; i <= NF; i++) s += $i; printf "%.12g %.12g\n", s, s / (NF - c) }'
done >sums
cp endings out
for row in 1 2 3; do
    for k in 1 2 3 4; do
        near "$(member $row log_likelihoods | tr -d '[],' | cut -d ' ' -f $k)" \
            "$(sed -n $((4 * row - 4 + k))p sums | cut -d ' ' -f 1)" "ending $k of row $row"
    done
    for column in 1 2; do
        best=$(sed -n "$((4 * row - 3)),$((4 * row))p" sums |
            awk -v c=$column 'NR == 1 || $c > most { most = $c; best = NR - 1 } END { print best }')
        name=$([ $column = 1 ] && echo choice || echo choice_normalised)
        [ "$(member $row $name)" = "$best" ] || fail "row $row: $name $(member $row $name), expected $best"
    done
done
near "$(number accuracy)" .333333333 "accuracy by sums: of the first row alone"
near "$(number accuracy_normalised)" .666666667 "accuracy by means: of the third row too"

# Any number of ranks gives the same bytes, in many batches; FILE is what standard output would be.
for i in $(seq 40); do cat texts.txt; done >many.txt
sed 's/the/a dog saw the/' texts.txt >>many.txt
for n in 1 2 3; do
    mpirun --oversubscribe --bind-to none -n $n "$GALLEY" score run --threads 1 --batch 2 many.txt \
        --output many$n.jsonl >summary$n 2>errors || fail "$n ranks: $(cat errors)"
    cmp -s many1.jsonl many$n.jsonl && cmp -s summary1 summary$n || fail "$n ranks give other numbers"
done
score many.txt --batch 2
head -n -1 out | cmp -s - many1.jsonl || fail "--output writes something else"

printf '{"ctx": "the cat", "endings": ["sat", "saw"], "label": 2}\n' >label.jsonl
printf '{"ctx": "the cat", "endings": ["sat"], "label": 0}\n' >one.jsonl
printf '{"ctx": "the cat", "endings": ["sat", ""], "label": 0}\n' >nothing.jsonl
printf '{"token_ids": [2, 16]}\n' >outside.jsonl
printf '{"text": "the cat "}\n' >space.jsonl
printf '{"story": "the cat"}\n' >field.jsonl
for i in 1 2 3 4 5; do printf ' the cat sat on a mat'; done | sed 's/.*/{"ctx": "a", "endings": ["&", "b"], "label": 0}/' >wide.jsonl
refuse 2 "then examples" run
refuse 2 "--kind is \"piqa\"" run texts.txt --kind piqa
refuse 2 "--stride is 25" run texts.txt --stride 25
refuse 2 "is there already" run texts.txt --output texts.jsonl
refuse 1 "label.jsonl, line 1: label must be the number of the right ending, 0 to 1" run label.jsonl --output refused
refuse 1 "a list of 2 to 256" run one.jsonl --output refused
refuse 1 "an ending has no token" run nothing.jsonl --output refused
refuse 1 "from 0 to 15" run outside.jsonl --output refused
refuse 1 "ends in a space" run space.jsonl --kind lambada --output refused
refuse 1 "no field \"text\"; the object has story" run field.jsonl --output refused
refuse 1 "tokens have to be scored at once; the context has 24" run wide.jsonl --output refused
refuse 1 "stand in JSON objects" run texts.txt --kind hellaswag --output refused
[ ! -e failures ]
