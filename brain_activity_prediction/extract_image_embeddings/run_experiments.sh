#!/usr/bin/env bash
# Run the whole study on one GPU: every extraction, then every alignment, then the report. After a failure, the next
# model is run. Ctrl-C stops after the current batch. A second start runs only what is left. Set these variables here or
# in the environment:
: "${BASE_DIRECTORY:=${BASE_DIR-}}"
BASE_DIRECTORY=${BASE_DIRECTORY:-.} # folder of NSD; BASE_DIR is read, too
OUTPUT=${OUTPUT:-} # folder of the results and logs (empty: BASE_DIRECTORY)
GPU_ID=${GPU_ID:-0} # number of the GPU, or cpu
PROMPTS=${PROMPTS:-1-9} # prompts: 3, or 1,2,3, or 1-9
SUBJECTS=${SUBJECTS:-1 2 5 7} # NSD subjects
BATCH_SIZE=${BATCH_SIZE:-8} # number of images in a batch
MODELS=${MODELS:-vit_huge_patch14_224_in21k llava_1.5_13b idefics_9b_instruct instruct_blip_13b mplug_owl_llama_7b openflamingo_9b} # names of scripts without .py, or ids on the hub
CHECKPOINTS=${CHECKPOINTS:-} # folder with the weights of each model, in a subfolder named after its script, or org_model (empty: the hub)
PYTHON=${PYTHON:-python} # Python interpreter for the scripts

set -uo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

usage() { # prints the comments and settings at the top of this file
  echo "Usage: BASE_DIRECTORY=DIR [NAME=VALUE ...] $0"
  sed -n '2,/^$/ { /^:/d; s/^# //; s/^\([A-Z_]*\)=${[A-Z_]*:-\(.*\)} # \(.*\)/  \1: \3 (default: \2)/; p; }' "${BASH_SOURCE[0]}"
}
refuse() {
  echo "run_experiments.sh: $1 (--help lists the settings)" >&2
  exit 2
}
case ${1-} in
  -h | --help) usage && exit ;;
  ?*) refuse "it takes no $1: set variables before the command, as in BASE_DIRECTORY=DIR GPU_ID=0 $0" ;;
esac
[[ $BASE_DIRECTORY == "${BASE_DIR:-$BASE_DIRECTORY}" ]] ||
  refuse "BASE_DIRECTORY is $BASE_DIRECTORY and BASE_DIR is $BASE_DIR: set one of them"
SUBJECTS=${SUBJECTS//,/ } MODELS=${MODELS//,/ }
[[ $SUBJECTS =~ ^[0-9\ ]+$ ]] || refuse "SUBJECTS is $SUBJECTS: write numbers, such as 1 2 5 7"
for model in $MODELS; do
  [[ -f $here/$model.py || $model =~ ^[A-Za-z0-9_][A-Za-z0-9_.-]*/[A-Za-z0-9_][A-Za-z0-9_.-]*$ ]] ||
    refuse "there is no model script $model.py in $here: ids look like org/model"
done
place=(-d "$BASE_DIRECTORY")
if [[ -n $OUTPUT ]]; then place+=(--output "$OUTPUT"); fi
logs=${OUTPUT:-$BASE_DIRECTORY}/logs
mkdir -p "$logs" || exit 2
for subject in $SUBJECTS; do # in either layout
  (cd "$BASE_DIRECTORY" && { compgen -G "nsddata_betas/ppdata/subj0$subject/func1pt8mm/*/betas_session*" ||
    compgen -G "nsddata_sessions/subj0$subject/betas_session*"; } >/dev/null) ||
    echo "run_experiments.sh: subject $subject has no betas in $BASE_DIRECTORY: its alignments will fail" >&2
done
read -ra prompts <<<"$PROMPTS"
succeeded=() failed=() left=() stopped=
complete= # the names of the extractions that reached their end, each between two spaces
trap 'stopped=yes' INT TERM

step() { # step NAME COMMAND...: runs it with a log of its own; true where it reached its end
  local name=$1 log=$logs/$1.log status=0
  shift
  echo "== $name (log: $log)"
  rm -f -- "$log" # and made anew (-C), so that nothing is written through a link
  "$@" 2>&1 | (trap '' INT TERM && set -C && exec 3>"$log" && exec tee /dev/fd/3) || status=$? # INT leaves the log its last line
  case $status in
    0) succeeded+=("$name") && return ;;
    75 | 130) stopped=yes left+=("$name") ;; # stopped by a signal, between two batches or at once
    *) failed+=("$name: $(tail -n 1 "$log" | tr '\r' '\n' | tail -n 1 | tr -d '[:cntrl:]')") ;;
  esac
  return 1
}

for model in $MODELS; do
  called=${model//\//_} # the name in folders and logs
  script=("$here/$model.py")
  if [[ ! -f ${script[0]} ]]; then script=("$here/../cli/main.py" extract "$model"); fi
  weights=()
  if [[ -n $CHECKPOINTS ]]; then weights=(--checkpoint "$CHECKPOINTS/$called"); fi
  broken=
  for subject in $SUBJECTS; do
    name=extract_${called}_subj0$subject
    if [[ -n $stopped$broken ]]; then
      left+=("$name")
    elif step "$name" "$PYTHON" "${script[@]}" "${place[@]}" -s "$subject" \
      -p "${prompts[@]}" -b "$BATCH_SIZE" -g "$GPU_ID" ${weights[@]+"${weights[@]}"}; then
      complete+=" $name "
    else
      broken=yes
    fi
  done
done

for model in $MODELS; do
  called=${model//\//_} model_id=$model
  if [[ -f $here/$model.py ]]; then model_id=$(sed -n 's/^MODEL_ID[ ,][^"]*"\([^"]*\)".*/\1/p' "$here/$model.py"); fi
  for subject in $SUBJECTS; do
    name=align_${called}_subj0$subject
    if [[ -n $stopped || $complete != *" extract_${called}_subj0$subject "* ]]; then
      left+=("$name")
    else
      step "$name" "$PYTHON" "$here/../align_image_embeddings/align_model.py" \
        "${place[@]}" -s "$subject" -p "${prompts[@]}" -m "$model_id" -g "$GPU_ID"
    fi
  done
done

if [[ -n $stopped ]]; then
  left+=(report)
else
  step report "$PYTHON" "$here/../report/report.py" "${place[@]}"
fi

echo
echo "${#succeeded[@]} succeeded, ${#failed[@]} failed, ${#left[@]} left"
for name in ${succeeded[@]+"${succeeded[@]}"}; do echo "done    $name"; done
for name in ${failed[@]+"${failed[@]}"}; do echo "FAILED  $name"; done
for name in ${left[@]+"${left[@]}"}; do echo "left    $name"; done
if ((${#failed[@]})); then exit 1; fi
if [[ -n $stopped ]]; then exit 75; fi
