# errors.sh - bad input is one clear error, the same exit code through mpirun, and nothing is lost.
set -u
. "$GALLEY_SOURCE/tests/ranks/common.sh"
rm -rf run ./*.log damaged
make_text
failures=0
# Here many runs are to fail, and mpirun waits a second between TERM and KILL for ranks that are gone.
export OMPI_MCA_odls_base_sigkill_timeout=0 PRTE_MCA_odls_base_sigkill_timeout=0

# refuse CODE WORDS ARGUMENT...: `galley train tiny.yaml ARGUMENT...` on two ranks ends with CODE and
# exactly one line of ours, which holds WORDS, within a few seconds.
refuse() {
    local code=$1 words=$2 start=$SECONDS rc
    shift 2
    timeout 20 mpirun --oversubscribe --bind-to none -n 2 "$GALLEY" train tiny.yaml \
        --train.steps=4 --sampling.every_epochs=0 "$@" >out.log 2>&1
    rc=$?
    if [ $rc != "$code" ] || [ "$(grep -c '^galley: ' out.log)" != 1 ] ||
        ! grep '^galley: ' out.log | grep -qF -- "$words" || [ $((SECONDS - start)) -gt 6 ] ||
        grep -qE 'Segmentation|broken invariant|stack' out.log; then
        echo "train $*: exit code $rc (expected $code), $((SECONDS - start)) s, expected \"$words\":"
        cat out.log
        failures=$((failures + 1))
    fi
}

# A command that is wrong before ranks know of each other.
for command in trian 'score --bogus'; do
    # shellcheck disable=SC2086
    timeout 20 mpirun --oversubscribe --bind-to none -n 3 "$GALLEY" $command >out.log 2>&1
    rc=$?
    [ $rc = 2 ] && [ "$(grep -c 'galley: ' out.log)" = 1 ] || {
        echo "$command: exit code $rc (expected 2):"
        cat out.log
        failures=$((failures + 1))
    }
done

head -c 5000 /dev/urandom >binary.bin
printf 'good line\nbad \xff\xfe line\n' >latin.txt
: >empty.txt
head -n 5 train.txt >few.txt
refuse 1 'nowhere.txt' --run.folder=run --data.train=nowhere.txt
refuse 1 'binary.bin' --run.folder=run --data.train=binary.bin
refuse 1 'no file of tokens, but text' --run.folder=run --data.kind=tokens
refuse 1 'latin.txt, line 2' --run.folder=run --data.train=latin.txt
refuse 1 'empty.txt' --run.folder=run --data.train=empty.txt
refuse 1 'longest' --run.folder=run --data.min_bytes=100000
refuse 1 'fewer than one global batch of 12' --run.folder=run --data.train=few.txt
refuse 2 'data.train is empty' --run.folder=run --data.train=
refuse 1 'cannot' --run.folder=/proc/nothing
refuse 2 'the nearest is train.global_batch' --run.folder=run --train.globalbatch=3
refuse 2 '12 or 14' --run.folder=run --train.global_batch=13
refuse 1 'nowhere.vocab' --run.folder=run --tokenizer.vocabulary=nowhere.vocab
refuse 2 'more than model.vocabulary_size' --run.folder=run --model.vocabulary_size=50

# A run to damage.
train 2 run --train.steps=6 --checkpoint.every_steps=3 --sampling.every_epochs=0 || {
    echo "the run failed"; cat run.log; exit 1; }
before=$(md5sum run/checkpoints/*.h5)
refuse 1 'another model' --run.folder=run --model.channels=33
refuse 2 'tokenizer.lowercase true, now it is false' --run.folder=run --tokenizer.lowercase=false
refuse 2 'train.global_batch 12' --run.folder=run --train.global_batch=6
logged=$(md5sum run/metrics.jsonl)
refuse 2 'run/checkpoints holds 2, the newest of step 6' --run.folder=run --checkpoint.resume=false
[ "$logged" = "$(md5sum run/metrics.jsonl)" ] || { echo "a refused run changed the log"; failures=$((failures + 1)); }
head -n 150 train.txt >other.txt
refuse 1 'not what the run in run was trained on' --run.folder=run --data.train=other.txt
{ cat vocabulary.txt; echo extra; } >more.vocab
refuse 1 'another vocabulary' --run.folder=run --tokenizer.vocabulary=more.vocab
(exec 9<>run/.lock; flock 9; exec sleep 8) &
holder=$!
sleep 0.5
refuse 2 'in use by' --run.folder=run
kill $holder; wait $holder 2>/dev/null
train 2 run --train.steps=6 --checkpoint.every_steps=3 --sampling.every_epochs=0 &&
    grep -q 'nothing is left to train: step 6 of 6' run.log || {
    echo "a run that was done does not say so:"; cat run.log; failures=$((failures + 1)); }
[ "$before" = "$(md5sum run/checkpoints/*.h5)" ] || { echo "checkpoints were touched"; failures=$((failures + 1)); }

# The newest is damaged: it is named, and the one before is used.
cp -r run damaged
printf '\x5a' | dd of=damaged/checkpoints/step-00000006.h5 bs=1 seek=100000 conv=notrunc status=none
"$GALLEY" inspect damaged/checkpoints/step-00000006.h5 --verify >out.log 2>&1 && {
    echo "a damaged checkpoint was verified"; failures=$((failures + 1)); }
grep -q 'damaged: /.* hashes to' out.log || { cat out.log; failures=$((failures + 1)); }
train 2 damaged --train.steps=6 --sampling.every_epochs=0 || { cat damaged.log; failures=$((failures + 1)); }
grep -q 'resuming  after step 3' damaged.log || { cat damaged.log; failures=$((failures + 1)); }
for f in damaged/checkpoints/*.h5; do truncate -s 20000 "$f"; done
refuse 1 'none of the' --run.folder=damaged
exit $failures
