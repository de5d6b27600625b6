# evaluate.sh - galley evaluate tells what the run's own validation said, on token shards with documents masked
# as the run had them, and bits per byte of text.
set -eu
. "$GALLEY_SOURCE/tests/ranks/common.sh"
rm -rf tokens masked plain ./*.log
make_text
fail() { echo "$1"; exit 1; }
# number NAME: of the JSON object on standard input
number() { sed -nE "s/.*\"$1\": ([-0-9.e+]+).*/\1/p"; }
# near A B WHAT: equal to rounding
near() {
    awk -v a="$1" -v b="$2" 'BEGIN { d = a - b; exit !(a != "" && b != "" && d * d <= 1e-12 * b * b) }' ||
        fail "$3: $1, expected $2"
}

"$GALLEY" tokenize --output tokens --vocabulary vocabulary.txt --lowercase --validation 0.2 train.txt 2>tokenize.log
for run in masked:true plain:false; do
    train 1 "${run%:*}" --train.steps=6 --validation.every_steps=6 --sampling.every_epochs=0 \
        --data.train='tokens/train-*.h5' --data.validation='tokens/validation-*.h5' \
        --data.mask_documents="${run#*:}" --data.restart_positions="${run#*:}"
    said=$(number validation_loss <"${run%:*}/metrics.jsonl" | tail -n 1)
    for ranks in 1 2; do
        mpirun --oversubscribe --bind-to none -n $ranks "$GALLEY" evaluate "${run%:*}" --threads 1 --json \
            'tokens/validation-*.h5' >result 2>evaluate.log
        near "$(number loss <result)" "$said" "the loss of the ${run%:*} run on $ranks ranks"
    done
done
[ "$said" != "$(number validation_loss <masked/metrics.jsonl | tail -n 1)" ] || fail "masks change nothing"

# With spaces around the signs the stories decode to as many bytes as they have.
sed -E 's/([.,])/ \1/g' valid.txt | cut -d ' ' -f 1-40 >short.txt
"$GALLEY" score plain short.txt --threads 1 2>score.log | tail -n 1 >scored
bytes=$(($(wc -c <short.txt) - $(wc -l <short.txt)))
[ "$(number bytes <scored)" = "$bytes" ] || fail "$(number bytes <scored) bytes were counted of $bytes"
"$GALLEY" evaluate plain short.txt --threads 1 --json >result 2>evaluate.log
near "$(number bits_per_byte <result)" \
    "$(awk -v l="$(number loss <scored)" -v n="$(number tokens <scored)" -v b="$bytes" \
        'BEGIN { printf "%.12g", l / log(2) * n / b }')" "bits per byte"
"$GALLEY" evaluate plain short.txt --threads 1 2>evaluate.log | grep -q "bits per byte" || fail "not told"
