# devices.sh - which GPU a rank takes, and one clear error where there is none for it.
# usage: devices.sh PROGRAM
set -eu
. "$(dirname "$0")/common.sh"
make_run

# fails RANKS MESSAGE [--section.key=value...]: with the environment as it is
fails() {
    local ranks=$1 message=$2
    shift 2
    rm -rf failing
    if train "$ranks" failing --train.steps=2 "$@"; then
        echo "went well, expected: $message"
        exit 1
    fi
    [ "$(grep -c "^galley: " failing.log)" = 1 ] && grep -q "^galley: .*$message" failing.log || {
        cat failing.log
        echo "expected one message: $message"
        exit 1
    }
}
SIMGPU_DEVICES=none fails 1 'no NVIDIA driver is loaded'
SIMGPU_DEVICES=0 fails 1 'no GPU is visible'
SIMGPU_DEVICES=2 fails 3 '3 ranks on this node, but 2 GPUs are visible' --train.global_batch=6
SIMGPU_DEVICES=1 fails 2 'have the same GPU'
SIMGPU_MEMORY=30000000 fails 1 'has no memory for'
SIMGPU_SHARED=101375 fails 1 'gives a block 101375 bytes of shared memory, and the kernels need 101376; use another'
fails 1 'set model.channels to at most 12672' --model.channels=12680 --model.heads=160

# Without a driver, "auto" is the CPU.
rm -rf auto
SIMGPU_DEVICES=none train 1 auto --train.steps=1 --device.kind=auto
grep -q '^device .*cpu\|cpu fp32' auto.log || { cat auto.log; exit 1; }

# A launcher that shows each rank a GPU of its own.
rm -rf shown
cat >show-one-gpu <<'END'
#!/bin/sh
CUDA_VISIBLE_DEVICES=$OMPI_COMM_WORLD_LOCAL_RANK exec "$@"
END
chmod +x show-one-gpu
mpirun --oversubscribe --bind-to none --timeout 60 -n 2 ./show-one-gpu "$GALLEY" train tiny.yaml \
    --run.folder=shown --train.steps=2 >shown.log 2>&1 || { cat shown.log; exit 1; }
