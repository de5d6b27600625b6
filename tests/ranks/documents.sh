# documents.sh - packed documents that are masked from each other train as documents alone do, on any number
# of ranks: rows of two documents of 16 tokens, with attention and positions of each its own, make the steps
# of rows of one. Without either they do not.
set -eu
. "$(dirname "$0")/common.sh"
rm -rf alone packed* two* tokens documents.txt
make_text

# Words that are one token each, 15 a document: with [BOS] it has 16. 401 of them make 400 rows of one, or 200
# of two, and the token behind the last.
grep -E '^[a-z]+$' vocabulary.txt >words.txt
awk '{ word[NR] = $0 } END {
    srand(7)
    for (i = 0; i < 401; i++) {
        line = ""
        for (k = 0; k < 15; k++) line = line word[1 + int(NR * rand())] " "
        print line
    }
}' words.txt >documents.txt
"$GALLEY" tokenize --output tokens --vocabulary vocabulary.txt --lowercase documents.txt >tokens.log 2>&1
grep -q '401 documents: 6416 tokens' tokens.log

options=(--data.train=tokens/train-00000.h5 --data.validation=tokens/train-00000.h5 --data.shuffle=false
    --model.max_positions=32 --train.steps=15)
long=("${options[@]}" --data.sequence_length=32 --train.global_batch=12)
both=(--data.mask_documents=true --data.restart_positions=true)
train 1 alone "${options[@]}" --data.sequence_length=16 --train.global_batch=24
train 1 packed "${long[@]}" "${both[@]}"
same alone packed 1e-5
train 2 two "${long[@]}" "${both[@]}" --train.micro_batch=3
same packed two 1e-5

train 1 packed-mask "${long[@]}" --data.mask_documents=true
train 2 two-mask "${long[@]}" --data.mask_documents=true
same packed-mask two-mask 1e-5
train 1 packed-plain "${long[@]}"
for other in packed-mask packed-plain; do
    if (same alone "$other" 1e-5 >/dev/null); then echo "$other is no different"; exit 1; fi
done
