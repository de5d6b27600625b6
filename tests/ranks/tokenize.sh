# tokenize.sh - galley tokenize makes the same shards byte for byte on any number of ranks and threads, from
# any packing, and after kills at random moments; and a run trains on them.
# usage: tokenize.sh [KILLS]      default 2
set -eu
. "$(dirname "$0")/common.sh"
kills=${1:-2}
rm -rf 'a*[b]?' one two three four threads packed killed other json noise unlike run* big.txt text.jsonl
make_text
fail() { echo "$1"; exit 1; }

# tokenize RANKS FOLDER [OPTION...] -- INPUT...
# A rank that is killed while it connects leaves mpirun (seen with Open MPI 4.1.4) waiting for ever, deaf to its
# own --timeout.
tokenize() {
    local ranks=$1 folder=$2
    shift 2
    timeout --signal=KILL 130 mpirun --oversubscribe --bind-to none --timeout 120 -n "$ranks" "$GALLEY" tokenize \
        --output "$folder" --vocabulary vocabulary.txt --lowercase --validation 0.05 \
        --shard-tokens 30000 "$@" >"$folder.log" 2>&1
}
# same_shards FOLDER FOLDER: the same names, the same bytes, nothing else
same_shards() {
    diff -rq "$1" "$2" || fail "$1 and $2 differ"
}

# 200 stories, 0.2 MB, in pieces of 10 KB.
tokenize 1 one --piece-bytes 10000 --threads 1 train.txt
[ "$(ls one | wc -l)" -ge 3 ] || fail "too few shards: $(ls one)"
for n in two:2 three:3 four:4; do
    tokenize "${n#*:}" "${n%:*}" --piece-bytes 10000 --threads 1 train.txt
    same_shards one "${n%:*}"
done
tokenize 2 threads --piece-bytes 70000 --threads 3 train.txt
same_shards one threads

# Packed, and as JSON: other bytes on disk, the same tokens. (made_from differs: not the bytes.)
gzip -kf train.txt
sed -E 's/["\\]/\\&/g; s/.*/{"id": 1, "story": "&"}/' train.txt >text.jsonl
ids() {
    for shard in "$1"/*.h5; do
        "$GALLEY" inspect "$shard" --sample 0 --sequence-length 1000 | grep '^ids'
    done
}
tokenize 2 packed --threads 2 train.txt.gz
tokenize 3 json --piece-bytes 10000 --field story text.jsonl
ids one >one.ids
ids packed | cmp - one.ids || fail "a packed file gives other tokens"
ids json | cmp - one.ids || fail "JSON gives other tokens"

# What inspect shows.
"$GALLEY" inspect one/train-00000.h5 --verify --sample 2 --vocabulary vocabulary.txt >shown
grep -q 'Galley shard, uint16: 30000 tokens' shown || fail "$(cat shown)"
grep -q '^text: .*was a' shown || fail "$(cat shown)"
grep -q 'verified: every byte' shown || fail "$(cat shown)"

"$GALLEY" inspect one --verify >shown
grep -q "^train: [0-9]* tokens in $(ls one/train-* | wc -l) of $(ls one/train-* | wc -l) shards$" shown || fail "$(cat shown)"
grep -q '^validation: [0-9]* tokens in 1 of 1 shards$' shown || fail "$(cat shown)"
grep -q '^verified: every byte' shown || fail "$(cat shown)"
ln -s one 'a*[b]?'
"$GALLEY" inspect 'a*[b]?' | grep -q '^validation: [0-9]* tokens in 1 of 1 shards$' || fail "a folder with an odd name"
if "$GALLEY" inspect one --sample 2 2>shown; then fail "a sample of a folder"; fi
grep -q 'one is a folder of shards; --sample' shown || fail "$(cat shown)"

# What is finished is left alone; what is of something else is not touched.
tokenize 2 one train.txt
grep -q 'holds these tokens already' one.log || fail "the second run did not see that all is there"
if tokenize 1 one --min-bytes 100 train.txt; then fail "other options wrote over the shards"; fi
grep -q 'choose another --output' one.log || fail "$(cat one.log)"
same_shards one two
# Nor is it taken for that of another text of the same length and time.
sed '1s/./X/' train.txt >same-length.txt
touch -r train.txt same-length.txt
[ "$(stat -c %s train.txt)" = "$(stat -c %s same-length.txt)" ] || fail "the lengths differ"
if tokenize 2 one same-length.txt; then fail "shards of another text of the same length were kept"; fi
grep -q 'one/train-00000.h5 holds other input' one.log || fail "$(cat one.log)"
# All ranks must have the same tokenizer: not only the first says what the shards are of.
tac vocabulary.txt >backward.txt
if timeout --signal=KILL 130 mpirun --oversubscribe --bind-to none --timeout 120 -n 2 sh -c '
    vocabulary=vocabulary.txt
    [ "$OMPI_COMM_WORLD_RANK" = 0 ] || vocabulary=backward.txt
    exec "$GALLEY" tokenize --output unlike --vocabulary "$vocabulary" --lowercase train.txt' 2>unlike.log; then
    fail "ranks with two vocabularies tokenized together"
fi
grep -q 'ranks disagree on the input, the tokenizer or an option' unlike.log || fail "$(cat unlike.log)"
[ ! -e unlike ] || fail "ranks with two vocabularies began to write"
# More than a shard can hold is refused before anything is done.
if tokenize 1 huge --shard-tokens 4294967297 train.txt; then fail "too large shards"; fi
grep -q -- '--shard-tokens is "4294967297"; it must be a whole number from 1 to 4294967296' huge.log ||
    fail "$(cat huge.log)"
[ ! -e huge ] || fail "a folder was made for nothing"

# Killed at random moments, on changing numbers of ranks.
for i in $(seq 25); do cat train.txt; done >big.txt
tokenize 2 other --piece-bytes 200000 big.txt
done_kills=0 tries=0
while [ "$done_kills" -lt "$kills" ] && [ "$tries" -lt $((20 * kills)) ]; do
    tries=$((tries + 1))
    ranks=$((1 + RANDOM % 3))
    begun=0.3    # before there is anything, the work is done too soon for a time to be chosen
    if [ ! -d killed/unfinished ]; then begun=0; fi
    (tokenize "$ranks" killed --piece-bytes 200000 big.txt || true) 2>/dev/null &
    until [ -d killed/unfinished ] || ! kill -0 $! 2>/dev/null; do sleep 0.005; done
    sleep "$(awk -v r=$RANDOM -v b=$begun 'BEGIN { print b + r / 32768 * (b ? 0.9 : 0.05) }')"
    victim=$(pgrep -n -f "$GALLEY .*output killed" || true)
    [ -z "$victim" ] || kill -9 "$victim" 2>/dev/null || true
    wait
    if [ -d killed/unfinished ]; then
        done_kills=$((done_kills + 1))
    elif [ -f killed/train-00000.h5 ]; then
        same_shards other killed
        rm -r killed
    fi
done
[ "$done_kills" -ge "$kills" ] || fail "only $done_kills of $kills kills came in time"
tokenize 2 killed --piece-bytes 200000 big.txt
same_shards other killed

# A file that is not text is named, on all ranks at once, and leaves no shard.
head -c 5000 /dev/urandom >noise.txt
if tokenize 2 noise noise.txt train.txt; then fail "noise was tokenized"; fi
grep -q 'noise.txt, line' noise.log || fail "$(cat noise.log)"
[ -z "$(ls noise | grep h5 || true)" ] || fail "a shard of noise"

# Training on the shards: 1, 2 and 3 ranks, and resumed on another number, alike. A model without ReLU: where
# an argument of one is within rounding of 0, sums in another order may put it on the other side, and the
# gradient jumps by far more than rounding (seen by step 8 in one build, by step 84 in another).
shards=("--data.train=one/train-*.h5" "--data.validation=one/validation-*.h5" --train.steps=20
    --validation.every_steps=10 --model.family=gpt2)
for n in run1:1 run2:2 run3:3; do
    train "${n#*:}" "${n%:*}" "${shards[@]}"
done
same run1 run2 1e-5
same run1 run3 1e-5
"$GALLEY" inspect run1 --batch 3 >batch
[ "$(grep -c 'sample [0-9]*  one/train-0000[0-9].h5, token [0-9]*$' batch)" = 12 ] || fail "$(cat batch)"
train 2 run4 "${shards[@]}" --train.steps=10 --schedule.decay_steps=20
train 3 run4 "${shards[@]}"
same run1 run4 1e-4
if train 1 run4 --data.train=other/train-*.h5 --train.steps=30; then fail "other data was taken"; fi
grep -q 'is not what the run' run4.log || fail "$(cat run4.log)"
if train 1 run5 "${shards[@]}" --tokenizer.lowercase=false; then fail "another tokenizer was taken"; fi
grep -q 'was made with another tokenizer' run5.log || fail "$(tail -3 run5.log)"
