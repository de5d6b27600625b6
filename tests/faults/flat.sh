# flat.sh - a long run, for all its checkpoints, validations and samples, needs no more memory, file
# descriptors, threads and time a step at its end than near its beginning.
# usage: flat.sh [MINUTES [CHECKPOINT-SECONDS [RANKS]]]     default 0.4 1 2; the whole proof: flat.sh 60 10
#
# Alone: cd to an empty folder, set GALLEY and GALLEY_SOURCE, and `bash tests/faults/flat.sh 60 10`.
set -eu
. "$GALLEY_SOURCE/tests/ranks/common.sh"
minutes=${1:-0.4} every_s=${2:-1} ranks=${3:-2}
rm -rf speed flat ./*.log watched
make_text
fail() { echo "FAILED: $1"; grep -v '^step ' flat.log | tail -n 30; exit 1; }

# Steps of so many seconds on this machine.
options=(--validation.every_epochs=0 --sampling.every_epochs=0 --checkpoint.every_epochs=0)
train "$ranks" speed "${options[@]}" --train.steps=400 --train.log_every_steps=20
seconds=$(awk -v m="$minutes" 'BEGIN { printf "%d", 60 * m }')
every=$(sed -n 's/.*"step_ms": \([^,]*\),.*/\1/p' speed/metrics.jsonl | sort -g |
    awk -v s="$every_s" '{ a[NR] = $1 } END { printf "%d", 1 + 1000 * s / a[int((NR + 1) / 2)] }')

mpirun --oversubscribe --bind-to none -n "$ranks" "$GALLEY" train tiny.yaml --run.folder=flat "${options[@]}" \
    --train.steps=1000000000 --train.log_every_steps=20 "--checkpoint.every_steps=$every" \
    "--validation.every_steps=$every" "--sampling.every_steps=$every" \
    "--run.time_limit=$((seconds / 60)):$((seconds % 60))" --run.time_margin_s=0 >flat.log 2>&1 &
launcher=$!
for _ in $(seq 600); do
    [ ! -s flat/metrics.jsonl ] || break
    sleep 0.1
done
pids=$(pgrep -P $launcher) || fail "it did not start"

# watched: second, rank, resident kB, descriptors, threads; some 300 times in all.
start=$(date +%s%N)
pause=$(awk -v s=$seconds 'BEGIN { print (s > 60 ? s / 300 : 0.2) }')
while kill -0 $launcher 2>/dev/null; do
    rank=0
    now=$((($(date +%s%N) - start) / 1000000))
    for pid in $pids; do
        memory=$(awk '/^VmRSS:/ { m = $2 } /^Threads:/ { t = $2 } END { if (m) print m, t }' \
            "/proc/$pid/status" 2>/dev/null || true)
        files=$(ls "/proc/$pid/fd" 2>/dev/null | wc -l)
        [ -z "$memory" ] || echo "$now $rank ${memory% *} $files ${memory#* }" >>watched
        rank=$((rank + 1))
    done
    sleep "$pause"
done
rc=0
wait $launcher || rc=$?
[ $rc = 75 ] || fail "exit code $rc, expected 75, as its time was up"

# The beginning is the fourth tenth of the time (those before fill caches and pools), the end the
# last. Of what comes and goes, such as a file being written, the least counts; of step times,
# which other work on the machine lengthens, the tenth percentile; in less than five minutes, where such
# work may fill a tenth of the time, of the whole second half.
sed -n 's/.*"step": \([0-9]*\),.*"step_ms": \([^,]*\),.*/\1 \2/p' flat/metrics.jsonl >steps
awk -v ranks="$ranks" '
    function low(x, y) { return x == "" || y < x ? y : x }
    FILENAME == "watched" { n++; t[n] = $1; r[n] = $2; kb[n] = $3; fd[n] = $4; th[n] = $5; next }
    { s++; ms[s] = $2 }
    function tenth(from, to,    i, j, k, a, m, x) {
        for (i = from; i < to; i++) {
            x = ms[i]
            for (j = m; j > 0 && a[j] > x; j--) a[j + 1] = a[j]
            a[j + 1] = x; m++
        }
        return a[int(m / 10) + 1]
    }
    END {
        # Before it leaves: while rank 0 has the threads that it had half-way.
        for (i = 1; i <= n; i++) if (r[i] == 0 && t[i] <= t[n] / 2) middle = th[i]
        for (i = 1; i <= n; i++) if (r[i] == 0 && th[i] >= middle) end = t[i]
        for (i = 1; i <= n; i++) {
            w = t[i] >= 0.3 * end && t[i] < 0.4 * end ? "b" : t[i] >= 0.9 * end && t[i] < end ? "e" : ""
            if (w == "") continue
            k = w r[i]
            KB[k] = low(KB[k], kb[i]); FD[k] = low(FD[k], fd[i]); TH[k] = low(TH[k], th[i])
        }
        for (i = 0; i < ranks; i++) {
            b = "b" i; e = "e" i
            printf "rank %d: resident %.1f -> %.1f MB, descriptors %d -> %d, threads %d -> %d\n", i,
                KB[b] / 1024, KB[e] / 1024, FD[b], FD[e], TH[b], TH[e]
            if (KB[e] > 1.01 * KB[b] + 1024 || FD[e] > FD[b] || TH[e] > TH[b]) bad = 1
        }
        b = tenth(int(0.3 * s) + 1, int(0.4 * s) + 1); e = tenth(int((end < 300000 ? 0.5 : 0.9) * s) + 1, s + 1)
        printf "step %.3f -> %.3f ms; %.0f s, %d rows logged\n", b, e, end / 1000, s
        if (e > 1.25 * b) bad = 1
        exit bad
    }' watched steps || fail "not flat"
echo "$(grep -c '^checkpoint  step' flat.log) checkpoints"
