"""Writes the four mini suites to evals/mini from the held-out parts of the generators.

    python make_suites.py
"""

import json
from random import Random

import code_tasks
import math_problems
from chinese import CHINESE
from english import ENGLISH
from train import HERE

SUITES = HERE.parents[2] / "evals" / "mini"
SEED = "mini-suites"


def write(name: str, items: list[dict]):
    """One JSON object a line."""
    lines = [json.dumps(item, ensure_ascii=False) for item in items]
    (SUITES / f"{name}.jsonl").write_text("\n".join(lines) + "\n")


def main():
    SUITES.mkdir(parents=True, exist_ok=True)
    write("mmlu-mini", ENGLISH.test_items(Random(f"{SEED}/english"), 276))
    write("ceval-mini", CHINESE.test_items(Random(f"{SEED}/chinese"), 270))
    write("gsm8k-mini", math_problems.test_items(Random(f"{SEED}/math"), 200))
    write("humaneval-mini", code_tasks.test_items(Random(f"{SEED}/code"), 164))


if __name__ == "__main__":
    main()
