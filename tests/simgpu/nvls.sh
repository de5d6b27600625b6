# nvls.sh - sums in NVLink's switches are set up where all GPUs can, and nowhere else; the user's word goes before.
# usage: nvls.sh PROGRAM
set -eu
. "$(dirname "$0")/common.sh"
make_run

# sets_up N: with the environment as it is, so many of two ranks set them up
sets_up() {
    local expected=$1 n
    rm -rf run calls
    SIMGPU_CALLS=$PWD/calls train 2 run --train.steps=1 || { cat run.log; exit 1; }
    n=$(grep -c '^nvls 1' calls || true)
    [ "$n" = "$expected" ] || { echo "$n ranks set up sums in switches, expected $expected"; exit 1; }
}
SIMGPU_MULTICAST=2 sets_up 2
SIMGPU_MULTICAST=1 sets_up 0
SIMGPU_MULTICAST=1 NCCL_NVLS_ENABLE=2 sets_up 1

rm -rf run
if SIMGPU_MULTICAST=2 SIMGPU_FAIL=nvls:1:1 train 2 run --train.steps=1; then
    echo "a failure to set them up was passed over"
    exit 1
fi
[ "$(grep -c '^galley: .*ncclCommInitRankConfig.*NCCL_NVLS_ENABLE=0' run.log)" = 1 ] || { cat run.log; exit 1; }
