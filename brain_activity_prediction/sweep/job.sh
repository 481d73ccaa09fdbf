#!/usr/bin/env bash
# One job of a sweep on SLURM: the units that its list has for this array task, side by side, one an srun task.
# sweep.py slurm submits it with what its flags say (partition, account, time, memory, GPUs), which goes before the
# lines below. Edit a copy and name it with --job-file.
#SBATCH --nodes=1
#SBATCH --requeue                # after preemption and after a node's death
#SBATCH --signal=B:USR1@120      # this many seconds before the time limit; longer than a batch or a layer takes
#SBATCH --open-mode=append

# What your site needs before Python runs, such as modules, goes here.

base_dir=$1 items=$2 python=$3 run_unit=$4 max_restarts=$5
job=${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID # SLURM_JOB_ID of an array's last task is the number of the whole array

# A job that is killed before it gets anywhere would otherwise be started again for ever.
if ((${SLURM_RESTART_COUNT:-0} > max_restarts)); then
  echo "started again $max_restarts times already: look at the logs, then submit again" >&2
  exit 1
fi

# srun passes USR1 on to its tasks; they finish the batch or layer in hand and end with status 75. On preemption and
# scancel SLURM itself sends them TERM, to the same effect.
stopped='' tasks=''
trap 'stopped=yes; if [[ -n $tasks ]]; then kill -USR1 "$tasks"; fi' USR1
trap 'stopped=yes' TERM

export SRUN_CPUS_PER_TASK=${SLURM_CPUS_PER_TASK:-1} # since 22.05 srun does not take it from sbatch
srun --kill-on-bad-exit=0 "$python" "$run_unit" "$base_dir" --item "$items" &
tasks=$!
if [[ -n $stopped ]]; then kill -USR1 "$tasks"; fi # it came before there was anything to tell
wait "$tasks"
status=$?
while kill -0 "$tasks" 2>/dev/null; do # a trapped signal ends wait before the tasks have ended
  wait "$tasks"
  status=$?
done

# Status 75: SLURM told the units alone, as it does when preemption has a grace time. Units that are done find nothing
# left when they start again. A job that was cancelled runs no longer, and stays so.
if ((status == 75)) || [[ $status != 0 && -n $stopped ]]; then
  for pause in 2 4 8 16 0; do # many jobs end at once at a limit, and a busy SLURM does not always answer
    if state=$(squeue --noheader --jobs "$job" --format %T); then
      if [[ $state != RUNNING ]]; then break; fi
      if scontrol requeue "$job"; then exit 0; fi
    fi
    sleep "$pause"
  done
fi
exit "$status"
