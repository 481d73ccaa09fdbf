#!/usr/bin/env bash
# One job of a sweep on SLURM. It runs the units of this array task in parallel, one in each srun task.
# sweep.py slurm submits this file. The options from its flags (partition, account, time, memory, GPUs) take precedence
# over the #SBATCH lines below. To change the file, edit a copy and name it with --job-file.
#SBATCH --nodes=1
#SBATCH --requeue                # after preemption and after a node's failure
#SBATCH --signal=B:USR1@120      # send USR1 120 seconds before the time limit: longer than a batch or layer takes
#SBATCH --open-mode=append

# Add here any commands that your site needs before Python runs, such as loading modules.

results_dir=$1 items=$2 python=$3 run_unit=$4 max_restarts=$5
# Not SLURM_JOB_ID, which for an array's last task is the number of the whole array.
job=${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID

# Without this limit, a job that is always killed before it makes progress would restart forever.
if ((${SLURM_RESTART_COUNT:-0} > max_restarts)); then
  echo "started again $max_restarts times already: look at the logs, then submit again" >&2
  exit 1
fi

# srun passes USR1 on to its tasks, which finish their current batch or layer and end with status 75. On preemption and
# scancel, SLURM itself sends the tasks TERM, with the same effect.
stopped='' tasks=''
trap 'stopped=yes; if [[ -n $tasks ]]; then kill -USR1 "$tasks"; fi' USR1
trap 'stopped=yes' TERM

# Since SLURM 22.05, srun does not inherit --cpus-per-task from sbatch.
export SRUN_CPUS_PER_TASK=${SLURM_CPUS_PER_TASK:-1}
srun --kill-on-bad-exit=0 "$python" "$run_unit" "$results_dir" --item "$items" &
tasks=$!
if [[ -n $stopped ]]; then kill -USR1 "$tasks"; fi # the signal came before srun had started
wait "$tasks"
status=$?
while kill -0 "$tasks" 2>/dev/null; do # a trapped signal interrupts wait before the tasks have ended
  wait "$tasks"
  status=$?
done

# Requeue a job that was stopped. If the status is 75 without a signal to this script, SLURM signalled only the units,
# as in preemption with a grace time. Units that are done find no work when they start again. A cancelled job is not
# RUNNING and is therefore not requeued.
if ((status == 75)) || [[ $status != 0 && -n $stopped ]]; then
  for pause in 2 4 8 16 0; do # many jobs end at once at a time limit, and a busy SLURM may not answer
    if state=$(squeue --noheader --jobs "$job" --format %T); then
      if [[ $state != RUNNING ]]; then break; fi
      if scontrol requeue "$job"; then exit 0; fi
    fi
    sleep "$pause"
  done
fi
exit "$status"
