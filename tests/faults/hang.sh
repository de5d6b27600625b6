# hang.sh - a rank that is stopped, in any phase, is named by the others within the deadline and five
# seconds, and all processes are gone after it.
set -eu
. "$GALLEY_SOURCE/tests/ranks/common.sh"
rm -rf run ./*.log
make_text
"$GALLEY" corpus --sentences 60000 --seed 5 --output long.txt 2>/dev/null    # to be long in phase init
deadline=3
fail() { echo "$1:"; cat run.log; exit 1; }

# hang PHASE RANK [--section.key=value...]
hang() {
    local phase=$1 rank=$2 rc=0 victim pids record last start there=no
    shift 2
    rm -rf run
    record=run/flight/rank-0000$rank.log
    mpirun --oversubscribe --bind-to none -n 3 "$GALLEY" train tiny.yaml --run.folder=run \
        --train.steps=100000 --deadline.answer=$deadline --validation.every_epochs=0 \
        --sampling.every_epochs=0 --checkpoint.every_epochs=0 "$@" >run.log 2>&1 &
    local launcher=$!
    until [ "$(pgrep -cP $launcher)" = 3 ]; do kill -0 $launcher || fail "it did not start"; done
    pids=$(pgrep -P $launcher)
    victim=$(echo "$pids" | sed -n "$((rank + 1))p")
    # Stopped as soon as its record is there, and looked at; where it is elsewhere, it is let go on, but before
    # phase init, which is short, only by so little that it does not get past it.
    while [ ! -s "$record" ]; do :; done
    for _ in $(seq 600); do
        kill -STOP "$victim"
        last=$(grep -a '^[0-9]' "$record" | sort | tail -n 1)
        [[ $last != *[0-9]" $phase "* ]] || { there=yes; break; }
        kill -CONT "$victim"
        case $last in
        *" rank $rank, process "*) sleep 0.001 ;;
        ?*) sleep "0.0$((RANDOM % 40 + 10))" ;;
        esac
    done
    start=$(date +%s%N)
    [ "$there" = yes ] || { kill -KILL $launcher; fail "rank $rank was never seen in phase $phase"; }
    local named=no
    for _ in $(seq $(((deadline + 20) * 10))); do
        if grep -q "^  rank $rank (process $victim on .* does not answer.*; its record ends: [0-9.]* $phase " \
            run.log; then
            named=$((($(date +%s%N) - start) / 1000000))
            break
        fi
        kill -0 $launcher 2>/dev/null || break
        sleep 0.1
    done
    wait $launcher || rc=$?
    [ "$named" != no ] || fail "rank $rank, stopped in phase $phase, was not named"
    [ "$named" -le $(((deadline + 5) * 1000)) ] || fail "phase $phase: named after $named ms"
    [ $rc != 0 ] || fail "phase $phase: mpirun ended well"
    [ "$(grep -c '^galley: ' run.log)" = 1 ] || fail "phase $phase: told not once"
    for pid in $pids; do
        for _ in $(seq 50); do
            grep -qsE '^State:[[:space:]]+[^ZX]' "/proc/$pid/status" || continue 2
            sleep 0.1
        done
        fail "phase $phase: process $pid is left"
    done
    echo "phase $phase, rank $rank: named after $named ms, all gone, exit code $rc"
}
hang init 0 --tokenizer.vocabulary= --data.threads=1 --data.train=long.txt
hang step 1
hang step 0
hang validation 2 --validation.every_steps=1 --data.validation=train.txt
hang sampling 0 --sampling.every_steps=1 --sampling.samples.0.sampler=beam
hang save 0 --checkpoint.every_steps=1
