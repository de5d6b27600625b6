# disk_full.sh FAULT_LIBRARY - a disk that fills up while a run saves: the run ends on all ranks with one
# message that says what failed, or goes on, as configured; the checkpoints before survive, and the run can
# be gone on with.
set -eu
. "$GALLEY_SOURCE/tests/ranks/common.sh"
library=$1
rm -rf whole full-*
make_text
options=(--train.steps=16 --checkpoint.every_steps=4 --validation.every_epochs=0
    --sampling.every_epochs=0)
fail() { echo "$1:"; cat "$2"; exit 1; }

# broken RANKS FOLDER FROM FOREVER [--section.key=value...]: writes to the checkpoint of step 8 fail
broken() {
    local ranks=$1 folder=$2 at=$3 forever=$4
    shift 4
    env ${forever:+FAULT_FOREVER=1} FAULT_PATH=.step-00000008.h5 FAULT_KIND=ENOSPC FAULT_AT="$at" \
        mpirun --oversubscribe --bind-to none -n "$ranks" env LD_PRELOAD="$library" "$GALLEY" train tiny.yaml \
        "--run.folder=$folder" "${options[@]}" "$@" >"$folder.log" 2>&1
}
# told_once LOG PATTERN: it is the only message, of galley or of MPI
told_once() {
    grep -q "^galley: .*$2" "$1" || fail "the error does not say what failed" "$1"
    [ "$(grep -c '^galley: ' "$1")" = 1 ] || fail "told not once" "$1"
    ! grep -q MPI_ABORT "$1" || fail "ranks were aborted" "$1"
}

train 2 whole "${options[@]}"
for at in 1 20 50; do
    ranks=$((1 + at % 2))
    rc=0
    broken $ranks full-stop "$at" yes || rc=$?
    [ $rc = 1 ] || fail "exit code $rc, expected 1" full-stop.log
    told_once full-stop.log 'writing the checkpoint of step 8: .*No space left on device'
    # Where the run then stopped, a step later or more, there was room again.
    ls -A full-stop/checkpoints >files
    grep -qx step-00000004.h5 files && ! grep -qE 'step-00000008|partial' files && [ "$(wc -l <files)" = 2 ] ||
        fail "not the right files are left: $(paste -sd' ' files)" full-stop.log
    "$GALLEY" inspect full-stop --verify >/dev/null
    rm -r full-stop
done
broken 2 full-stop 20 yes || true
train 2 full-stop "${options[@]}"
same whole full-stop 0

broken 2 full-on 20 "" --checkpoint.on_error=continue || fail "the run did not go on" full-on.log
grep -q 'warning: writing the checkpoint of step 8: .*No space left on device.*; training goes on' \
    full-on.log || fail "nobody was told" full-on.log
[ ! -e full-on/checkpoints/step-00000008.h5 ] || fail "a checkpoint of step 8 is there" full-on.log
same whole full-on 0

# The last checkpoint is what the run was for.
rc=0
FAULT_PATH=.step-00000016.h5 FAULT_KIND=EIO FAULT_AT=30 mpirun --oversubscribe --bind-to none -n 2 \
    env LD_PRELOAD="$library" "$GALLEY" train tiny.yaml --run.folder=full-last "${options[@]}" \
    --checkpoint.on_error=continue >full-last.log 2>&1 || rc=$?
[ $rc = 1 ] || fail "exit code $rc, expected 1" full-last.log
told_once full-last.log 'step 16: .*Input/output error'

# A disk that is really full in the midst of a run: by its checkpoints, and by others, when the first to find
# out are the logs, whose rows are written in the midst of what all ranks do together.
mkdir full-disk
if ! mount -t tmpfs -o size=24m tmpfs full-disk 2>/dev/null; then
    echo "cannot mount: a disk that is really full was not tried"
    exit 0
fi
trap 'umount -l full-disk' EXIT
# fills LOG [--section.key=value...]: runs there, beside FILL, if it is set
fills() {
    local log=$1 rc=0
    shift
    rm -rf full-disk/*
    mpirun --oversubscribe --bind-to none --timeout 60 -n 2 "$GALLEY" train tiny.yaml \
        --run.folder=full-disk/run "${options[@]}" --train.steps=1000000000 "$@" >"$log" 2>&1 &
    local launcher=$!
    if [ -n "${FILL:-}" ]; then
        for _ in $(seq 300); do
            [ "$(ls full-disk/run/checkpoints 2>/dev/null | wc -l)" -lt 2 ] || break
            sleep 0.1
        done
        dd if=/dev/zero of=full-disk/filled bs=4k 2>/dev/null || true
    fi
    wait $launcher || rc=$?
    [ $rc = 1 ] || fail "a full disk: exit code $rc, expected 1" "$log"
    told_once "$log" '\(no space\|No space\)'
    for file in full-disk/run/checkpoints/*; do
        "$GALLEY" inspect "$file" --verify >/dev/null || fail "$file is damaged" "$log"
    done
    echo "a full disk: $(ls full-disk/run/checkpoints | wc -l) checkpoints are good; $(grep '^galley: ' "$log")"
}
fills full-saves.log --checkpoint.keep=0 --checkpoint.every_steps=20
FILL=yes fills full-rows.log --checkpoint.every_steps=100 --checkpoint.on_error=continue
FILL=yes fills full-samples.log --checkpoint.every_steps=100 --checkpoint.on_error=continue \
    --train.log_every_steps=1000000 --sampling.every_steps=1 --sampling.samples.0.sampler=greedy
