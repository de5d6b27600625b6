# nccl.sh - collectives on 1, 2 and 3 ranks under several orders; what differs between ranks ends them all
# with one message.
# usage: nccl.sh PROGRAM [SEEDS]      default 3
set -eu
program=$1
seeds=${2:-3}
ranks() { local n=$1; shift; mpirun --oversubscribe --bind-to none --timeout 60 -n "$n" "$program" "$@"; }

for seed in $(seq "$seeds"); do
    SIMGPU_SEED=$seed ranks $((seed % 3 + 1)) >good.log 2>&1 || { cat good.log; echo "seed $seed fails"; exit 1; }
done

# fails CASE MESSAGE
fails() {
    if ranks 2 "$1" >"$1.log" 2>&1; then
        echo "$1: went well"
        exit 1
    fi
    [ "$(grep -c "$2" "$1.log")" = 1 ] || { cat "$1.log"; echo "$1: does not say once: $2"; exit 1; }
}
fails counts 'collective 1 differs between ranks: rank 0 has ncclAllReduce of 1000 .* rank 1 has ncclAllReduce of 500'
fails order 'differs between ranks: .* at byte 2000 of .* at byte 0 of\|differs between ranks: .* at byte 0 of .* at byte 2000 of'
fails duplicate 'Duplicate GPU detected : rank 1 and rank 0 both on CUDA device 1'
ranks 1 progress >progress.log 2>&1 && { echo "calls in progress are not refused"; exit 1; }
grep -q "last call is still in progress" progress.log
ranks 1 graph >graph.log 2>&1 && { echo "a graph that outlives its communicator is not refused"; exit 1; }
grep -q "ncclCommAbort while there are graphs" graph.log
