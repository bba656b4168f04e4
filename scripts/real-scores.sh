#!/usr/bin/env bash
# Scores of a real model, one benchmark after the other, each resumable: real-scores.sh MODEL DATA OUT [STEP...]
# Steps (default: all): humaneval-qwen humaneval-ref gsm8k mmlu. The subsets are spread over the subjects, the same in every run.
# A step that was cut off goes on where it was; one that is done prints its numbers again. Run `npm run build` first.
set -euo pipefail
model=${1:?usage: real-scores.sh MODEL DATA OUT [STEP...]} data=${2:?usage: real-scores.sh MODEL DATA OUT [STEP...]} out=${3:?usage: real-scores.sh MODEL DATA OUT [STEP...]}
shift 3
(($# > 0)) || set -- humaneval-qwen humaneval-ref gsm8k mmlu
cli="$(dirname "${BASH_SOURCE[0]}")/../dist/src/cli/main.js"
mkdir -p "$out"

# score NAME ARGUMENT...: one run folder, its table and its time beside it.
score() {
  local name=$1 started=$SECONDS
  shift
  node "$cli" eval "$model" --precision fast --data "$data" --out "$out/$name" --resume "$@" >"$out/$name.txt"
  echo "$name: $((SECONDS - started)) s in this attempt, on $(nproc) cores of $(sed -n 's/^model name.*: //p' /proc/cpuinfo | head -n 1)" | tee -a "$out/times.txt"
  cat "$out/$name.txt"
}

for step in "$@"; do
  case $step in
    humaneval-qwen) score "$step" --tasks humaneval --track qwen ;;
    humaneval-ref) score "$step" --tasks humaneval --track ref ;;
    gsm8k) score "$step" --tasks gsm8k:boxed --track qwen --limit 100 ;;
    mmlu) score "$step" --tasks mmlu --track ref --limit 285 ;;
    *) echo "Expected humaneval-qwen, humaneval-ref, gsm8k or mmlu, got $step." >&2; exit 2 ;;
  esac
done
