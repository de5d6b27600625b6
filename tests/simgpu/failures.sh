# failures.sh - a failure of any call of CUDA, cuBLASLt or NCCL ends all ranks with one message.
# usage: failures.sh PROGRAM [CALLS]      only every so manieth of the calls' names; default all
set -eu
. "$(dirname "$0")/common.sh"
stride=${1:-1}
make_run
options=(--train.steps=3 --validation.every_steps=0 --checkpoint.every_steps=0)

rm -rf good calls
SIMGPU_CALLS=$PWD/calls train 2 good "${options[@]}"

# Failures that may be passed over: of giving back what the end of the process gives back, of asking for
# the time, and of asking again what was answered before.
harmless='^(cudaEventDestroy|cudaFree|cudaFreeHost|cudaStreamDestroy|cudaEventElapsedTime|cublasLtDestroy|cublasLt[A-Za-z]*Destroy|ncclMemFree|ncclCommAbort|cudaGraphDestroy|cudaGraphExecDestroy|cudaGetDeviceCount|event [0-9]*)$'

# An error number that each library has.
error_of() {
    case $1 in
    cublas*) echo 14 ;;    # CUBLAS_STATUS_INTERNAL_ERROR
    nccl* | collective) echo 3 ;;    # ncclInternalError
    kernel) echo 700 ;;    # cudaErrorIllegalAddress
    *) echo 999 ;;
    esac
}

# The rank that makes the call, and the number of one in the middle of all of the rank that makes fewer (rank 0
# also reads back what it saves); but how often it is asked whether something is done, the clock decides.
rank_of() { [ "$1" = ncclGetUniqueId ] && echo 0 || echo 1; }
middle_of() {
    case $1 in
    cudaEventQuery | ncclCommGetAsyncError) echo 2 ;;
    *) echo $(($2 / 2)) ;;
    esac
}

bad=0
tried=0
try() {    # NAME NUMBER; mpirun would read the list of calls
    tried=$((tried + 1))
    rm -rf failing
    if SIMGPU_FAIL="$1:$2:$(error_of "$1")@$(rank_of "$1")" train 2 failing "${options[@]}" </dev/null; then
        echo "$1: the failure of call $2 was passed over"
        bad=1
    elif [ "$(grep -cE '^galley: |^rank [0-9]+ .*: ' failing.log)" != 1 ]; then
        grep -v '^step\|^---' failing.log | head -20
        echo "$1: call $2: expected one message"
        bad=1
    fi
}
i=0
while read -r name count; do
    i=$((i + 1))
    if [ $((i % stride)) = 0 ] && ! echo "$name" | grep -qE "$harmless"; then
        try "$name" 1
        [ "$count" -lt 4 ] || try "$name" "$(middle_of "$name" "$count")"
    fi
done < <(sed -E 's/ ([0-9]+)$/\t\1/' calls | awk -F'\t' '!($1 in least) || $2 < least[$1] { least[$1] = $2 } END { for (n in least) print n, least[n] }' | grep -v '^event' | sort)
echo "$tried failures tried"
[ "$tried" -gt $((i / stride / 3)) ] || { echo "too few"; bad=1; }
exit $bad
