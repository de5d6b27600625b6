# vocab_bpe.sh - `galley vocab --kind bpe` gives Hugging Face's files, whatever the threads; what it
# writes is a vocabulary that opens. Exits 77 without fixtures.
set -eu
bpe=$GALLEY_FIXTURES/bpe
[ -f "$bpe/train.txt" ] || { echo "skipped: no fixtures (GALLEY_FIXTURES)"; exit 77; }
rm -rf out1 out3 last big few bad

for threads in 1 3; do
    "$GALLEY" vocab --kind bpe --size 1000 --threads $threads --output out$threads "$bpe/train.txt"
    cmp out$threads/vocab.json "$bpe/trained-vocab.json"
    cmp out$threads/merges.txt "$bpe/trained-merges.txt"
done
"$GALLEY" vocab --kind bpe --size 1000 --end-token-last --output last "$bpe/train.txt"
cmp last/merges.txt "$bpe/trained-merges.txt"
"$GALLEY" inspect last | grep -q "<|endoftext|> is 999"
"$GALLEY" inspect out1 | grep -q "bpe, 1000 entries"

# Several blocks of a file, cut where no piece crosses: the same for any number of threads.
for i in 1 2 3 4 5 6 7 8 9 10 11 12; do cat "$bpe/train.txt"; printf '\n\n  \n'; done >large.txt
"$GALLEY" vocab --kind bpe --size 600 --threads 1 --output big large.txt
"$GALLEY" vocab --kind bpe --size 600 --threads 3 --output few large.txt
cmp big/vocab.json few/vocab.json
cmp big/merges.txt few/merges.txt

! "$GALLEY" vocab --kind bpe --size 200 --output bad "$bpe/train.txt" 2>error.txt
grep -q "256 bytes and the end token are 257" error.txt
[ ! -e bad ]
! "$GALLEY" vocab --kind bpe --lowercase --output bad "$bpe/train.txt" 2>error.txt
grep -q "means nothing to bpe" error.txt
