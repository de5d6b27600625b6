#!/usr/bin/env bash
# launch.sh COMMAND [ARGUMENT...]: runs COMMAND on all ranks of this Slurm job; the sbatch files here end
# in it.
#
# A run that was asked to stop saves and ends with exit code 75: then the job is queued again, and goes on
# there. It is asked by USR1, which Slurm sends to this script before the time limit (#SBATCH
# --signal=B:USR1@300), by galley itself, which looks at the time left, or by TERM, which Slurm sends when
# it preempts, cancels or ends the job; then it is Slurm who decides whether the job comes back.
#
# A run that was lost, with a rank, a node or one of mpirun's daemons that died or went out of reach, is
# queued again too: when its folder says neither that it is done, nor that it told an error, whatever mpirun's
# exit code. Slurm does that itself only where it finds out before the ranks do. One that got no further
# since is lost for good the GALLEY_TRIES-th time.
#
# From the environment:
#   GALLEY_LAUNCHER   mpirun (default), or srun, where the site wants its own starter (needs PMIx)
#   GALLEY_MPIRUN     more options for mpirun, such as "--mca btl_tcp_if_include ib0"
#   GALLEY_REQUEUE    no: do not queue again, only end with 75
#   GALLEY_TRIES      3: see above
set -u

# Ranks of a node: what the job asked for; and the cores of each, so that none shares a core or crosses
# sockets without need.
per_node=${SLURM_NTASKS_PER_NODE:-$(((SLURM_NTASKS + SLURM_JOB_NUM_NODES - 1) / SLURM_JOB_NUM_NODES))}
cores=${SLURM_CPUS_PER_TASK:-1}

# TERM is followed by KILL: Slurm allows KillWait seconds (30 by default) for saving, Open MPI two unless
# it is told: twice this number. It also waits so long at the end of a run that saved and stopped. The
# first name is Open MPI 4's, the second Open MPI 5's.
export OMPI_MCA_odls_base_sigkill_timeout=${OMPI_MCA_odls_base_sigkill_timeout:-10}
export PRTE_MCA_odls_base_sigkill_timeout=$OMPI_MCA_odls_base_sigkill_timeout
# Ranks that wait for each other leave the core to those they wait for.
export OMPI_MCA_mpi_yield_when_idle=1

case ${GALLEY_LAUNCHER:-mpirun} in
mpirun)
    # shellcheck disable=SC2206    # several options in one variable
    start=(mpirun --map-by "ppr:$per_node:node:PE=$cores" --bind-to core ${GALLEY_MPIRUN:-}) ;;
srun)
    start=(srun --mpi=pmix --kill-on-bad-exit=1 --cpus-per-task="$cores" --cpu-bind=cores) ;;
*)
    echo "launch.sh: GALLEY_LAUNCHER is \"$GALLEY_LAUNCHER\"; it must be mpirun or srun" >&2
    exit 2 ;;
esac
# One core a rank is what Slurm says when nobody asked: then ranks may use all there are.
if [ "$cores" = 1 ] && [ "${start[0]}" = mpirun ]; then
    # shellcheck disable=SC2206
    start=(mpirun --map-by "ppr:$per_node:node" --bind-to none ${GALLEY_MPIRUN:-})
fi

# "STATE step N FOLDER"; nothing for a command that trains no run.
run_state() { "$(dirname "$0")/../launch/run-state" "$@" 2>/dev/null; }

"${start[@]}" "$@" &
ranks=$!
terminated=no
trap 'echo "launch.sh: time is running out, ranks are asked to save" >&2; kill -USR1 $ranks' USR1
trap 'terminated=yes; [ "${start[0]}" = mpirun ] || kill -TERM $ranks' TERM
while kill -0 $ranks 2>/dev/null; do
    wait $ranks
done
wait $ranks    # its own exit code, whatever signal ended the last wait
code=$?

# lost STEP FOLDER: notes in the run's folder that it was lost, and prints how often at this step.
lost() {
    local step=$1 folder=$2 was='' times=0
    { read -r was times <"$folder/lost"; } 2>/dev/null
    [ "$was" = "$step" ] || times=0
    echo "$step $((times + 1))" >"$folder/lost" && echo $((times + 1))
}

# Why the job is to be queued again; nothing: it is not.
after=$(run_state "$@")
[ $code != 0 ] || [[ $after == @(|done*|unknown) ]] || code=1
why=
if [ $code = 75 ]; then
    why=saved
elif [ $code != 2 ] && [[ $after == @(running|stopped)* ]]; then
    step=${after#* step } folder=${after#* step * }
    times=$(lost "${step%% *}" "$folder")
    if [ -n "$times" ] && [ "$times" -lt "${GALLEY_TRIES:-3}" ]; then
        why="the run was lost ($after)"
    else
        echo "launch.sh: the run was lost ($after) ${times:-many} times, and is no further" >&2
    fi
fi
if [ -n "$why" ] && [ $terminated = no ] && [ "${GALLEY_REQUEUE:-yes}" = yes ]; then
    echo "launch.sh: $why; the job is queued again" >&2
    # Slurm ends this script by TERM: one that ends by itself meanwhile may end the job for good.
    trap - TERM
    scontrol requeue "$SLURM_JOB_ID" && sleep 60
    echo "launch.sh: it cannot be queued again; submit it anew, the run goes on" >&2
fi
exit $code
