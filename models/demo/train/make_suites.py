"""Writes the four mini suites to evals/mini from the held-out parts of the generators.

    python make_suites.py [--development]

There are two draws. The development draw was looked at while the model was trained; the suites proper were drawn after
its weights were frozen, and share no question and no program with the other.
"""

import argparse
import json
from random import Random

import code_tasks
import math_problems
from chinese import CHINESE
from english import ENGLISH
from train import HERE

SUITES = HERE.parents[2] / "evals" / "mini"
DEVELOPMENT, PROPER = "mini-suites", "mini-suites-2"
MAKERS = {"mmlu-mini": (ENGLISH.test_items, "english", 276), "ceval-mini": (CHINESE.test_items, "chinese", 270),
          "gsm8k-mini": (math_problems.test_items, "math", 200), "humaneval-mini": (code_tasks.test_items, "code", 164)}


def draw(name: str, seed: str, taken: set[str]) -> list[dict]:
    """The items of a suite."""
    make, domain, count = MAKERS[name]
    return make(Random(f"{seed}/{domain}"), count, taken)


def asked(item: dict) -> str:
    """What an item asks, without its choices."""
    return item["question"] if "question" in item else item["prompt"]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--development", action="store_true", help="the draw that was looked at during training")
    arguments = parser.parse_args()
    SUITES.mkdir(parents=True, exist_ok=True)
    for name in MAKERS:
        items = draw(name, DEVELOPMENT, set())
        if not arguments.development:
            items = draw(name, PROPER, {asked(item) for item in items})
        lines = [json.dumps(item, ensure_ascii=False) for item in items]
        (SUITES / f"{name}.jsonl").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
