#!/usr/bin/env bash
# Every model over every subject and prompt on one GPU: all extractions, then all alignments. A step that fails does not
# stop the others, and a second start does only what is left. Set these here or in the environment:
BASE_DIRECTORY=${BASE_DIRECTORY:-.}
GPU_ID=${GPU_ID:-0}
PROMPTS=${PROMPTS:-1-9}
SUBJECTS=${SUBJECTS:-1 2 5 7}
BATCH_SIZE=${BATCH_SIZE:-8}
MODELS=${MODELS:-vit_huge_patch14_224_in21k llava_1.5_13b idefics_9b_instruct instruct_blip_13b mplug_owl_llama_7b openflamingo_9b}
CHECKPOINTS=${CHECKPOINTS:-} # a folder with the weights of each model in a folder named after its script; empty: the hub
PYTHON=${PYTHON:-python}

set -uo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
logs=$BASE_DIRECTORY/logs
mkdir -p "$logs" || exit 2
read -ra prompts <<<"$PROMPTS"
summary=() failed=0

step() { # step NAME COMMAND...: runs it with a log of its own and notes how it ended
  local name=$1 log=$logs/$1.log status=0
  shift
  echo "== $name (log: $log)"
  "$@" 2>&1 | tee "$log" || status=$?
  if ((status)); then
    failed=1
    summary+=("FAILED  $name: $(tail -n 1 "$log")")
  else
    summary+=("done    $name")
  fi
}

for model in $MODELS; do
  weights=()
  if [[ -n $CHECKPOINTS ]]; then weights=(--checkpoint "$CHECKPOINTS/$model"); fi
  for subject in $SUBJECTS; do
    step "extract_${model}_subj0$subject" "$PYTHON" "$here/$model.py" -d "$BASE_DIRECTORY" -s "$subject" \
      -p "${prompts[@]}" -b "$BATCH_SIZE" -g "$GPU_ID" ${weights[@]+"${weights[@]}"}
  done
done
for model in $MODELS; do
  model_id=$(sed -n 's/^MODEL_ID = "\(.*\)"$/\1/p' "$here/$model.py")
  for subject in $SUBJECTS; do
    step "align_${model}_subj0$subject" "$PYTHON" "$here/../align_image_embeddings/align_model.py" \
      -d "$BASE_DIRECTORY" -s "$subject" -p "${prompts[@]}" -m "$model_id" -g "$GPU_ID"
  done
done

echo
printf '%s\n' "${summary[@]}"
exit "$failed"
