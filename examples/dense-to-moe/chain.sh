#!/usr/bin/env bash
# The whole lab on a converted model, with time and memory of each step: chain.sh MODEL WORK DATA
# MODEL: what convert.py wrote. WORK: the folder of items.jsonl; results go there. DATA: benchmark folders. Run `npm run build` first.
# A step whose mark is in WORK/done is passed over, so the chain goes on where it was stopped.
set -euo pipefail
model=${1:?usage: chain.sh MODEL WORK DATA} work=${2:?usage: chain.sh MODEL WORK DATA} data=${3:?usage: chain.sh MODEL WORK DATA}
cli="$(dirname "${BASH_SOURCE[0]}")/../../dist/src/cli/main.js"
items=(--data "$work/items.jsonl" --by group --precision fast)
mkdir -p "$work/done"

# step NAME ARGUMENT...: one command, its text to WORK/NAME.txt, its time and largest memory to stdout and WORK/times.txt.
step() {
  local name=$1
  shift
  [[ -e $work/done/$name ]] && return
  python3 - "$name" "$work/$name.txt" node "$cli" "$@" <<'PY' | tee -a "$work/times.txt"
import resource, subprocess, sys, time
name, text, *command = sys.argv[1:]
started = time.monotonic()
code = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=open(text, "w")).returncode
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(f"{name}: {time.monotonic() - started:.0f} s, {used.ru_utime + used.ru_stime:.0f} s of CPU time, {used.ru_maxrss / 1024:.0f} MiB")
sys.exit(code)
PY
  touch "$work/done/$name"
}

step eval eval "$model" --precision fast --tasks mmlu --track ref --num-fewshot 0 --limit 57 --data "$data" --trace topk --out "$work/eval" --resume
step routes routes "$model" "${items[@]}" --out "$work/routes"
step explain explain "$model" "${items[@]}" --controls 2 --out "$work/explain"
step ablate-scan ablate-scan "$model" "${items[@]}" --limit 40 --top 8 --controls 1 --out "$work/scan"
step quantize quantize "$model" "$work/moe-Q4_K_M.gguf" --type Q4_K_M
step replay replay "$work/moe-Q4_K_M.gguf" --routes-of "$model" "${items[@]}" --limit 8 --max-tokens 96 --out "$work/replay"
step drift drift "$model" "$work/moe-Q4_K_M.gguf" "${items[@]}" --limit 20 --max-tokens 128 --out "$work/drift"
