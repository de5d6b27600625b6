# waits.sh - a rank may begin its sums later than the others by all of deadline.step, also while NCCL's calls wait
# for it; later than that it is named, and all ranks end. Who is late to take leave spoils nothing.
# usage: waits.sh PROGRAM
set -eu
. "$(dirname "$0")/common.sh"
make_run
options=(--train.steps=4 --comm.bucket_megabytes=0.0123)
export SIMGPU_MEET=always
fail() { echo "$2"; cat "$1.log"; exit 1; }
rm -rf good first late lost left calls

# longest FOLDER: seconds that rank 0 waited in a step to begin a sum, at most
longest() {
    sort "$1/flight/rank-00000.log" | awk '/ waits: ranks to begin a sum/ { since = $2 }
        / done: ranks to begin a sum/ && $2 - since > most { most = $2 - since }
        END { printf "%.0f", most }'
}

SIMGPU_CALLS=$PWD/calls train 2 good "${options[@]}" || fail good "a run fails where NCCL's calls wait"
[ "$(grep -c '^ncclAllReduce ' calls)" = 2 ] || fail good "no sums were made"
if grep '^unaligned' calls; then fail good "sums begin where NCCL is slow"; fi

# Rank 1 comes late to the sums that go into a graph, in step 2.
SIMGPU_LATE=cudaStreamBeginCapture:1:6@1 train 2 late "${options[@]}" --deadline.answer=3 --deadline.step=60 ||
    fail late "a rank was waited for for 6 s, and the run failed"
same good late 0
[ "$(longest late)" -ge 4 ] || fail late "the record does not tell that rank 0 waited for 6 s to begin a sum"

# What NCCL connects ranks for is connected before the first step, in which rank 1 comes late to a sum.
SIMGPU_MEET=first SIMGPU_LATE=ncclAllReduce:5:3@1 train 2 first "${options[@]}" || fail first "the run failed"
[ "$(longest first)" -lt 2 ] || fail first "ranks are connected in a step: rank 0 waited $(longest first) s"

if SIMGPU_LATE=cudaStreamBeginCapture:1:60@1 train 2 lost "${options[@]}" --deadline.answer=4 --deadline.step=6; then
    fail lost "a rank was 60 s late with a deadline of 6 s, and the run went well"
fi
[ "$(grep -c '^galley: ' lost.log)" = 1 ] || fail lost "expected one message"
grep -q '^galley: rank 0 .* waits since .* in phase step, step 2.* (ranks to begin a sum) for rank that does not' \
    lost.log && grep -q '^  rank 1 .* is stuck since .* phase step, step 2' lost.log ||
    fail lost "rank 1 is not named, with its phase"

SIMGPU_LATE=ncclCommFinalize:1:9@1 train 2 left "${options[@]}" || fail left "a rank late to leave spoils the run"
[ "$(grep -c 'NCCL did not take leave within .* on 1 of 2 ranks' left.log)" = 1 ] || fail left "not told once"
same good left 0
