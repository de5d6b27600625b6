# disk_full.sh FAULT_LIBRARY - a disk that fills up while a run saves: the run ends with what failed, or goes
# on, as configured; the checkpoint before survives, and the run can be gone on with.
set -eu
. "$GALLEY_SOURCE/tests/ranks/common.sh"
library=$1
rm -rf whole full-*
make_text
options=(--train.steps=16 --checkpoint.every_steps=4 --validation.every_epochs=0
    --sampling.every_epochs=0)
fail() { echo "$1:"; cat "$2"; exit 1; }

# broken FOLDER FROM FOREVER [--section.key=value...]: writes to the checkpoint of step 8 fail
broken() {
    local folder=$1 at=$2 forever=$3
    shift 3
    env ${forever:+FAULT_FOREVER=1} FAULT_PATH=.step-00000008.h5 FAULT_KIND=ENOSPC FAULT_AT="$at" \
        LD_PRELOAD="$library" "$GALLEY" train tiny.yaml "--run.folder=$folder" "${options[@]}" "$@" \
        >"$folder.log" 2>&1
}

"$GALLEY" train tiny.yaml --run.folder=whole "${options[@]}" >whole.log 2>&1
for at in 1 20 50; do
    rc=0
    broken full-stop "$at" yes || rc=$?
    [ $rc = 1 ] || fail "exit code $rc, expected 1" full-stop.log
    grep -q '^galley: .*writing the checkpoint of step 8: .*No space left on device' full-stop.log ||
        fail "the error does not say what failed" full-stop.log
    [ "$(ls -A full-stop/checkpoints)" = step-00000004.h5 ] || fail "files left" full-stop.log
    "$GALLEY" inspect full-stop --verify >/dev/null
    rm -r full-stop
done
broken full-stop 20 yes || true
"$GALLEY" train tiny.yaml --run.folder=full-stop "${options[@]}" >full-stop.log 2>&1
same whole full-stop 0

broken full-on 20 "" --checkpoint.on_error=continue || fail "the run did not go on" full-on.log
grep -q 'warning: writing the checkpoint of step 8: .*No space left on device.*; training goes on' \
    full-on.log || fail "nobody was told" full-on.log
[ ! -e full-on/checkpoints/step-00000008.h5 ] || fail "a checkpoint of step 8 is there" full-on.log
same whole full-on 0

# The last checkpoint is what the run was for.
rc=0
FAULT_PATH=.step-00000016.h5 FAULT_KIND=EIO FAULT_AT=30 LD_PRELOAD="$library" "$GALLEY" train tiny.yaml \
    --run.folder=full-last "${options[@]}" --checkpoint.on_error=continue >full-last.log 2>&1 || rc=$?
[ $rc = 1 ] || fail "exit code $rc, expected 1" full-last.log
grep -q '^galley: .*step 16: .*Input/output error' full-last.log || fail "unclear" full-last.log
