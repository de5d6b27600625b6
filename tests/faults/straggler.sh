# straggler.sh - of two ranks that mostly compute, one that is stopped again and again for some milliseconds
# is named as the slowest, in the lines and in metrics.jsonl, with a time that tells by how much.
set -eu
. "$GALLEY_SOURCE/tests/ranks/common.sh"
rm -rf run ./*.log
make_text
fail() { echo "$1"; tail -n 12 run.log; kill -KILL $launcher 2>/dev/null || true; exit 1; }

mpirun --oversubscribe --bind-to none -n 2 "$GALLEY" train tiny.yaml --run.folder=run \
    --model.channels=192 --model.feed_forward=768 --model.layers=4 --train.steps=1000000 \
    --train.log_every_steps=2 --validation.every_epochs=0 \
    --sampling.every_epochs=0 --checkpoint.every_epochs=0 >run.log 2>&1 &
launcher=$!
count() { cat run/metrics.jsonl 2>/dev/null | wc -l; }
for _ in $(seq 600); do
    [ "$(count)" -lt 3 ] || break
    sleep 0.05
done
victim=$(pgrep -P $launcher | sed -n 2p)
[ -n "$victim" ] || fail "the run has no second rank"

# rows N: slows the victim until there are N more rows
rows() {
    local have
    have=$(count)
    until [ "$(count)" -ge $((have + $1)) ]; do
        kill -0 $launcher 2>/dev/null || fail "the run ended"
        kill -STOP "$victim"
        sleep 0.04
        kill -CONT "$victim"
        sleep 0.01
    done
}
rows 2
from=$(count)
rows 12
tail -n "+$((from + 1))" run/metrics.jsonl | head -n 12 >slow.rows
named=$(grep -c '"slowest_rank": 1' slow.rows || true)
[ "$named" -ge 9 ] || { cat slow.rows; fail "rank 1 was slowed, and named in $named rows of 12"; }

# Means over these rows: the slowed rank's time is far above that of the others.
sed -E 's/.*"compute_ms": ([0-9.e+-]+), .*"slowest_compute_ms": ([0-9.e+-]+), .*/\1 \2/' slow.rows |
    awk '{ usual += $1; slowest += $2 } END { print "computed", usual / NR, "ms, the slowest", slowest / NR;
        exit !(slowest > 1.5 * usual) }' || fail "it was no slower than the others"
grep -qE 'slowest rank 1 on [^ ]+ \+[0-9.]+ %  exposed comm [0-9.]+ %' run.log || fail "no line names it"

code=0
kill -USR1 $launcher
wait $launcher || code=$?
[ $code = 75 ] || fail "asked to stop, it ended with $code"
