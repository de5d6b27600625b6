# options.sh - a mistyped command line is one clear error, with exit code 2 and nothing written, also on two
# ranks.
# usage: options.sh, in a folder of its own, with the program in $GALLEY
set -u
rm -rf ./*
failures=0

# refuse WORDS VERB ARGUMENT...: ends with 2 and exactly one line, which holds WORDS.
refuse() {
    local words=$1 rc
    shift
    "${launcher[@]}" "$GALLEY" "$@" >out.log 2>&1 </dev/null
    rc=$?
    if [ $rc != 2 ] || [ "$(grep -c '^galley: ' out.log)" != 1 ] || ! grep -qF -- "$words" out.log; then
        echo "${launcher[*]} galley $*: exit code $rc (expected 2), expected \"$words\":"
        cat out.log
        failures=$((failures + 1))
    fi
}

launcher=()
for verb in vocab tokenize generate evaluate score convert inspect corpus; do
    refuse "galley $verb has no option --nonsense; galley $verb --help" $verb --nonsense text.txt
    refuse "galley $verb cannot take \"-x\"" $verb -x
done
refuse 'the nearest is --prompt;' generate run --promt x
refuse 'the nearest is --min-bytes;' vocab --output v.txt --minbytes=3 text.txt
refuse 'the nearest is --output;' corpus --outptu=stories.txt
refuse '--output needs a value' corpus --output
refuse '--sampler needs a value' generate run --prompt x --sampler
refuse '--lowercase takes no value' vocab --lowercase=yes --output v.txt text.txt
refuse '--size is "many"; it must be a whole number from 4 to' vocab --size many --output v.txt text.txt
refuse '--seed is "-1"' generate run --seed=-1
refuse '--sentences is "5x"' corpus --sentences 5x --output stories.txt
refuse '--p is "1.5"; it must be a number from 0 to 1' generate run --sampler top_p --p 1.5
refuse '--validation is "nan"' tokenize --output t --vocabulary v --validation nan text.txt
refuse '--precision is "fp8"; it must be fp32 or bf16' score run --precision fp8 text.txt
refuse '--precision is "fp8"; it must be fp32 or bf16' generate run --precision fp8
refuse '--to is "pytorch"' convert run out --to pytorch
refuse 'takes one file or run folder' inspect
refuse '--k means nothing to the sampler greedy' generate run --sampler greedy --k 3
mkfifo fifo
refuse 'fifo is neither a file nor a folder' corpus --sentences 5 --output fifo
refuse 'fifo is neither a file nor a folder' inspect fifo
rm fifo

launcher=(mpirun --oversubscribe --bind-to none -n 2)
for verb in tokenize evaluate score; do
    refuse "galley $verb has no option --nonsense" $verb --nonsense text.txt
    refuse "galley $verb " $verb
done

rm -f out.log
[ -z "$(ls -A)" ] || { echo "left behind:"; ls -A; failures=$((failures + 1)); }
[ $failures = 0 ]
