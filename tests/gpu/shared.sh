# shared.sh - two ranks on one GPU, which NCCL takes for two nodes when it is told so: their training is one
# rank's, and when one is killed the other ends.
# usage: shared.sh PROGRAM
set -eu
. "$(dirname "$0")/common.sh"
rm -rf one two killed
cat >apart <<'END'
#!/bin/sh
# Another host name for NCCL on each rank; over sockets, since there is nothing else between the two.
export NCCL_HOSTID=host$OMPI_COMM_WORLD_RANK NCCL_P2P_DISABLE=1 NCCL_SHM_DISABLE=1 CUDA_VISIBLE_DEVICES=0
exec "$@"
END
chmod +x apart
# train_apart FOLDER [--section.key=value...]
train_apart() {
    local folder=$1
    shift
    mpirun --oversubscribe --bind-to none --timeout 120 -n 2 ./apart "$GALLEY" train tiny.yaml \
        "--run.folder=$folder" --device.kind=cuda "$@" >"$folder.log" 2>&1
}
options=(--train.steps=20 --validation.every_steps=10 --sampling.every_epochs=0)
CUDA_VISIBLE_DEVICES=0 train 1 one "${options[@]}" --device.kind=cuda
train_apart two "${options[@]}" || {
    if grep -q 'ncclCommInit' two.log; then
        echo "skipped: this NCCL does not let two ranks share a GPU: $(grep -m 1 ncclCommInit two.log)"
        exit 77
    fi
    cat two.log
    exit 1
}
same one two 1e-5

train_apart killed --train.steps=1000000 &
job=$!
until [ -s killed/metrics.jsonl ]; do
    kill -0 $job 2>/dev/null || { cat killed.log; exit 1; }
    sleep 0.1
done
pkill -9 -n -f "run.folder=killed"
for _ in $(seq 200); do
    kill -0 $job 2>/dev/null || break
    sleep 0.1
done
! kill -0 $job 2>/dev/null || { pkill -9 -f "run.folder=killed"; echo "the other rank did not end"; exit 1; }
if wait $job; then echo "a killed rank was a success"; exit 1; fi
