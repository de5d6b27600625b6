# lost.sh - what slurm/launch.sh makes of the end of a run that was lost, of one that failed and of one whose
# state cannot be asked; mpirun and scontrol are stand-ins here (jobs.sh has the real ones).
set -eu
. "$GALLEY_SOURCE/tests/ranks/common.sh"
rm -rf run bin ./*.log queued
make_text
train 1 run --train.steps=3 --checkpoint.every_steps=1 --sampling.every_epochs=0
mkdir bin
printf '#!/bin/sh\nexit ${MPIRUN_CODE:-1}\n' >bin/mpirun
printf '#!/bin/sh\necho "$@" >>queued\nexit 1\n' >bin/scontrol    # 1: launch.sh need not wait for its end
chmod +x bin/*
export PATH=$PWD/bin:$PATH SLURM_JOB_ID=7 SLURM_NTASKS=1 SLURM_JOB_NUM_NODES=1

# ends CODE REQUEUED STATE MPIRUN-CODE [OPTION...]: that a job with this state of the run ends so
ends() {
    local code=$1 requeued=$2 state=$3 rc=0
    export MPIRUN_CODE=$4
    shift 4
    printf '%-7s\n' "$state" >run/state
    rm -f queued
    bash "$GALLEY_SOURCE/slurm/launch.sh" "$GALLEY" train tiny.yaml --run.folder=run "$@" >job.log 2>&1 || rc=$?
    [ "$rc" = "$code" ] && [ "$([ -e queued ] && echo yes || echo no)" = "$requeued" ] || {
        echo "$state, mpirun ends with $MPIRUN_CODE: ended with $rc, expected $code; queued again, expected $requeued:"
        cat job.log
        exit 1
    }
}

ends 0 no done 0
ends 1 no failed 1
ends 1 no failed 0                      # Open MPI 5, whose exit code says nothing
ends 75 yes stopped 75
ends 2 no running 2
# Lost: again and again, until it is no further the third time; one that got further has three times anew.
ends 1 yes running 0
ends 137 yes running 137 --reproducible
ends 1 no running 1
grep -q 'lost .* 3 times, and is no further' job.log || { cat job.log; exit 1; }
cp run/checkpoints/step-00000003.h5 run/checkpoints/step-00000004.h5
ends 1 yes running 1
GALLEY_TRIES=1 ends 1 no running 1
GALLEY_REQUEUE=no ends 1 no running 1
