# events.sh - without any one of its events, training is wrong under some order of the streams: no wait is
# there for nothing, and the simulated GPU would show it missing.
# usage: events.sh PROGRAM [ORDERS]      how many orders to try for each event; default 50
set -eu
. "$(dirname "$0")/common.sh"
orders=${1:-50}
make_run
options=(--train.steps=4 --validation.every_steps=2)

rm -rf good calls
SIMGPU_CALLS=$PWD/calls train 2 good "${options[@]}"
events=$(sed -nE 's/^event ([0-9]+) .*/\1/p' calls | sort -nu)
[ -n "$events" ] || { echo "training waits for no event"; exit 1; }

bad=0
for event in $events; do
    missed=
    for seed in $(seq "$orders"); do
        rm -rf without
        if ! SIMGPU_SEED=$seed SIMGPU_IGNORE=$event train 2 without "${options[@]}" ||
            ! (same good without 0) >/dev/null; then
            missed=$seed
            break
        fi
    done
    if [ -n "$missed" ]; then
        echo "event $event: missed under order $missed"
    else
        echo "event $event: nobody misses it under $orders orders"
        bad=1
    fi
done
exit $bad
