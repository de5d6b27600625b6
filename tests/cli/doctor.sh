# doctor.sh - galley doctor finds what long runs die of, says what to do, and its exit code says whether the
# run would end of it; what it cannot be shown here (no namespaces) is said.
set -eu
. "$GALLEY_SOURCE/tests/ranks/common.sh"
rm -rf run small ./*.log other
make_text
cores=$(getconf _NPROCESSORS_ONLN)

doctor() { "$GALLEY" doctor tiny.yaml --run.folder=run "$@"; }
ranks() {
    local n=$1
    shift
    mpirun --oversubscribe --bind-to none --timeout 60 -n "$n" "$GALLEY" doctor tiny.yaml --run.folder=run "$@"
}
# two SCRIPT: what each of two ranks does
two() {
    mpirun --oversubscribe --bind-to none --timeout 60 -n 2 sh -c "$1"
}
# finds CODE 'VERDICT NAME.*WORDS' COMMAND...
finds() {
    local code=$1 line=$2 rc=0
    shift 2
    "$@" >out.log 2>&1 || rc=$?
    [ $rc = "$code" ] && grep -qE "$line" out.log || {
        echo "$*: exit code $rc, expected $code and \"$line\":"; cat out.log; exit 1; }
}

# Nothing that would end a run, on a machine where it runs; and nothing stays behind.
finds 0 '^(ok  |look)  network +(sums over 2 ranks|a small sum)' ranks 2
[ "$(grep -cE '^(ok  |look)  [a-z]' out.log)" = 10 ] || { cat out.log; exit 1; }
[ ! -e run ] || { echo "a folder is left"; exit 1; }

# Cores: fewer than there are, and more ranks than there are.
if [ "$cores" -gt 1 ]; then
    finds 0 "^look  cores +this rank may use 1 of its $cores cores; start with mpirun --bind-to none" \
        taskset -c "$(taskset -cp $$ | sed 's/.*: \([0-9]*\).*/\1/')" "$GALLEY" doctor tiny.yaml --run.folder=run
fi
[ "$cores" -gt 8 ] ||
    finds 0 "^look  cores +$((cores + 1)) ranks share $cores cores; start fewer \(rank 0; so on $((cores + 1)) of" \
        ranks $((cores + 1))

# Limits.
finds 1 '^BAD   limits +only 512 files may be open; ulimit -n 4096' bash -c \
    'ulimit -n 512; exec "$GALLEY" doctor tiny.yaml --run.folder=run'
grep -q '^galley: 1 of 10 checks found what would end a run' out.log || { cat out.log; exit 1; }
finds 0 '^look  limits +only 0 MB of memory may be locked' bash -c \
    'ulimit -l 64; exec "$GALLEY" doctor tiny.yaml --run.folder=run'

# A run folder that cannot be.
finds 1 '^BAD   run folder +cannot make .*choose another run.folder' doctor --run.folder=train.txt/run
finds 1 '^BAD   run folder +.*choose another run.folder' doctor --run.folder=/proc/nothing

# Started once a core by srun, and each alone; ranks of different builds.
finds 2 '^galley: srun started 2 tasks, but each of them is alone.*srun --mpi=pmix' \
    env -u OMPI_COMM_WORLD_SIZE SLURM_STEP_NUM_TASKS=2 "$GALLEY" doctor
cp "$GALLEY" other
echo >>other
finds 1 '^galley: ranks disagree on the program: they run different builds of galley' \
    two '[ $OMPI_COMM_WORLD_RANK = 1 ] && exec ./other doctor || exec "$GALLEY" doctor'

# Disks that are full or not shared: small ones of our own.
unshare --mount true 2>/dev/null || { echo "no mount namespaces here: disks are not tested"; exit 0; }
# on_disk FOLDER BYTES COMMAND...: with an empty disk of that size on FOLDER
on_disk() {
    unshare --mount sh -c 'mount -t tmpfs -o "size=$2" tmpfs "$1"; shift 2; exec "$@"' sh "$@"
}
mkdir small
finds 1 '^BAD   space +0.5 MB are free, one checkpoint takes' \
    on_disk small 512k "$GALLEY" doctor tiny.yaml --run.folder=small/run
grep -q '^BAD   disk  *cannot write 64 MB to small/run: No space left on device' out.log || {
    cat out.log; exit 1; }
finds 0 '^look  space +104.9 MB are free, checkpoint.keep 1000 may need' \
    on_disk small 100m "$GALLEY" doctor tiny.yaml --run.folder=small/run --checkpoint.keep=1000
finds 1 '^BAD   shared memory +/dev/shm has 4 MB free.*docker run --shm-size=1g' \
    on_disk /dev/shm 4m "$GALLEY" doctor tiny.yaml --run.folder=run
finds 1 "^BAD   temporary +$PWD/small has [12]. MB free.*set TMPDIR" \
    on_disk small 20m env TMPDIR="$PWD/small" "$GALLEY" doctor tiny.yaml --run.folder=run
finds 1 '^BAD   seen by all +rank 1 on .* does not see what rank 0 wrote in small/run' two '
    doctor="$GALLEY doctor tiny.yaml --run.folder=small/run"
    [ $OMPI_COMM_WORLD_RANK = 1 ] || exec $doctor
    exec unshare --mount sh -c "mount -t tmpfs tmpfs small; exec $doctor"'
