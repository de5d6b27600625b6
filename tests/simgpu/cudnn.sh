# cudnn.sh - training with attention by cuDNN: losses near those of our own kernels, also where a run goes on from
# a checkpoint, and where ranks choose differently; what happens where cuDNN fails at its trial, in a step, in a graph.
# usage: cudnn.sh PROGRAM
set -eu
. "$(dirname "$0")/common.sh"
rm -rf own cudnn halves failing tokens ./*.log
make_run
"$GALLEY" tokenize --output tokens --vocabulary vocabulary.txt --lowercase train.txt >tokens.log 2>&1
# Heads of 16 channels, and token files, which have no padding; no choice is left to the clock.
export SIMGPU_EPILOGUES=fast SIMGPU_SLOW=attention_
options=(--data.train='tokens/train-*.h5' --data.validation='tokens/train-*.h5' --model.heads=2
    --train.precision=bf16 --train.steps=6 --schedule.decay_steps=6 --validation.every_epochs=0
    --checkpoint.every_steps=3)
tuned=(--device.tune=true --device.graphs=true)

# told FOLDER COUNT TEXT: the run's output has so many lines with this
told() {
    [ "$(grep -cE "$3" "$1.log")" = "$2" ] || { cat "$1.log"; echo "expected $2 lines of: $3"; exit 1; }
}

train 2 own "${options[@]}" || { cat own.log; exit 1; }
train 2 cudnn "${options[@]}" "${tuned[@]}" || { cat cudnn.log; exit 1; }
told own 0 cuDNN
told cudnn 2 '^attention  (forward|backward) of 2 x 24 by cuDNN 9.19.0: '
same own cudnn 0.02 0.1

train 2 halves "${options[@]}" "${tuned[@]}" --train.steps=3 || { cat halves.log; exit 1; }
train 2 halves "${options[@]}" "${tuned[@]}" || { cat halves.log; exit 1; }
told halves 2 '^attention  (forward|backward) of 2 x 24 by cuDNN 9.19.0: '
same cudnn halves 0.02 0.1

# with MOOD RANK: a program whose cuDNN is in a mood on one rank alone
with() {
    cat >moody <<END
#!/bin/sh
[ "\$OMPI_COMM_WORLD_RANK" != $2 ] || export SIMGPU_CUDNN=$1
exec "$GALLEY" "\$@"
END
    chmod +x moody
    echo "$PWD/moody"
}

# Where one rank takes its own kernels both have the same weights, or the third step says that they have not.
rm -rf failing
GALLEY=$(with fail 0) train 2 failing "${options[@]}" "${tuned[@]}" || { cat failing.log; exit 1; }
told failing 2 '^attention  (forward|backward) by our own kernels, not cuDNN: cudnnBackendExecute: '
told failing 0 warning
same own failing 0.02 0.1

# A call that fails while the second step becomes a graph, its first of backward: each pass made 6 with each of two
# engines at its trial, and makes one for each of two layers.
rm -rf failing
SIMGPU_FAIL=cudnnBackendExecute:31:5000@1 train 2 failing "${options[@]}" "${tuned[@]}" || { cat failing.log; exit 1; }
told failing 1 warning
told failing 1 '^rank 1: warning: attention  backward by our own kernels from now on, .*cudnnBackendExecute: '
same own failing 0.02 0.1

# A failure that makes the graph of a step void ends all ranks.
rm -rf failing
if GALLEY=$(with spoil 1) train 2 failing "${options[@]}" "${tuned[@]}"; then
    cat failing.log; echo "a step whose graph is void went well"; exit 1
fi
told failing 1 '^galley: '
told failing 1 'making a graph of a step.*in attention forward by cuDNN.*cudnnBackendExecute'
told failing 0 warning
