# nvls.sh - sums in NVLink's switches are set up where all GPUs can, and nowhere else; the user's word goes before.
# usage: nvls.sh PROGRAM [alone]      alone: also where one rank fails (2 minutes more)
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
echo NCCL_NVLS_ENABLE=2 >nccl.conf
SIMGPU_MULTICAST=1 NCCL_CONF_FILE=$PWD/nccl.conf sets_up 1

rm -rf run
if SIMGPU_MULTICAST=2 SIMGPU_FAIL=nvls:1:1 train 2 run --train.steps=1; then
    echo "a failure to set them up was passed over"
    exit 1
fi
[ "$(grep -c '^galley: .*ncclCommInitRankConfig.*NCCL_NVLS_ENABLE=0' run.log)" = 1 ] || { cat run.log; exit 1; }

# Where one rank fails, the other waits for it for a minute, and then its own words do not count.
[ "${1:-}" = alone ] || exit 0
for failure in nvls:1:1@1 ncclCommRegister:1:3@1 ncclAllReduce:2:3@1; do
    rm -rf run
    if SIMGPU_MEET=always SIMGPU_MULTICAST=2 SIMGPU_FAIL=$failure train 2 run --train.steps=1; then
        echo "$failure was passed over"
        exit 1
    fi
    [ "$(grep -c '^galley: ' run.log)" = 1 ] && grep -q '^galley: .*on rank 1 of' run.log || { cat run.log; exit 1; }
done
