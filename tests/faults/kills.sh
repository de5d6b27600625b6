# kills.sh - a run killed again and again, at random moments (a rank, mpirun, in the middle of writing or
# renaming a checkpoint), always goes on, and ends with the parameters of an uninterrupted one, bit for bit.
# usage: kills.sh [KILLS [SEED]]      default 6 1; the whole proof: kills.sh 200
#
# Alone: cd to an empty folder, set GALLEY and GALLEY_SOURCE, and `bash tests/faults/kills.sh 200`.
set -eu
. "$GALLEY_SOURCE/tests/ranks/common.sh"
kills=${1:-6}
RANDOM=${2:-1}
rm -rf whole killed ./*.log
make_text
steps=$((40 + kills * 25))
# Saved at every third step: so a kill often meets a file being written.
options=("--train.steps=$steps" --checkpoint.every_steps=3 --checkpoint.every_epochs=0
    --validation.every_steps=50 --sampling.every_epochs=0 --checkpoint.keep=2)
fail() { echo "$1:"; tail -n 30 killed.log; exit 1; }
train 2 whole "${options[@]}"

saved() { ls killed/checkpoints 2>/dev/null | sed -n 's/^step-0*\([0-9]*\)\.h5$/\1/p' | sort -n | tail -n 1; }
writing() { ls -A killed/checkpoints 2>/dev/null | grep -q partial; }

declare -A done=()
i=0
while [ $i -lt "$kills" ]; do
    before=$(saved)
    mpirun --oversubscribe --bind-to none --timeout 120 -n 2 "$GALLEY" train tiny.yaml \
        --run.folder=killed "${options[@]}" >killed.log 2>&1 &
    launcher=$!
    # Not before this start has saved, or nothing would ever be gained; then a little later.
    for _ in $(seq 2000); do
        [ "$(saved)" = "$before" ] || break
        kill -0 $launcher 2>/dev/null || break
        sleep 0.01
    done
    sleep "0.0$((RANDOM % 10))"
    how=$((RANDOM % 4))
    if [ $how = 3 ]; then
        for _ in $(seq 100); do writing && break; done
    fi
    ranks=$(pgrep -P $launcher || true)
    case $how in
    0) what=mpirun victim=$launcher ;;
    1) what='rank 1' victim=$(echo "$ranks" | sed -n 2p) ;;
    2) what='rank 0' victim=$(echo "$ranks" | sed -n 1p) ;;
    3) what='rank 0, writing' victim=$(echo "$ranks" | sed -n 1p) ;;
    esac
    [ -z "$victim" ] || kill -KILL "$victim" 2>/dev/null || true
    rc=0
    { wait $launcher; } 2>/dev/null || rc=$?
    if [ $rc = 0 ]; then
        echo "the run ended before kill $((i + 1)) of $kills"
        break
    fi
    # Where mpirun was killed, its ranks end a little later, and until then the run folder is theirs.
    for pid in $ranks; do
        for _ in $(seq 100); do [ -e "/proc/$pid" ] || break; sleep 0.1; done
    done
    if [ -d killed/checkpoints ] && [ -n "$(saved)" ]; then
        "$GALLEY" inspect killed --verify >inspect.log 2>&1 || { cat inspect.log; fail "kill $i ($what)"; }
    fi
    done[$what]=$((${done[$what]:-0} + 1))
    i=$((i + 1))
done
train 2 killed "${options[@]}" || fail "it did not go on after $i kills"
same whole killed 0
if command -v h5diff >/dev/null; then
    newest=checkpoints/$(printf 'step-%08d.h5' "$steps")
    h5diff "whole/$newest" "killed/$newest" /weights /weights
    h5diff "whole/$newest" "killed/$newest" /optimizer /optimizer
fi
[ $i -ge $((kills / 2)) ] || fail "only $i of $kills kills found a run"
for what in "${!done[@]}"; do echo "${done[$what]} times $what"; done
echo "$i kills; parameters, moments and losses as uninterrupted, bit for bit"
