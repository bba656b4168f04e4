"""Writes thefuzz-outputs.json: which of four options thefuzz picks for a text, and their scores (rounded by thefuzz).

    pip install thefuzz==0.22.1 rapidfuzz==3.14.6 && python test/eval/extract/thefuzz-outputs.py
"""

import json
import pathlib
import random

from thefuzz import process

WORDS = "the tall tree 大树 很高 river_bank Éclair ß 12 3.5 x² red, green (blue) 无法 确定 答案 是 ４ straße 的".split()
PUNCTUATION = [" ", "  ", "，", "。", "_", "-", "", "\t", "\u3000"]


def text(rng: random.Random, longest: int) -> str:
    return "".join(rng.choice(WORDS) + rng.choice(PUNCTUATION) for _ in range(rng.randint(0, longest)))


def main() -> None:
    rng = random.Random(7)
    rows = []
    for index in range(240):
        query = text(rng, 60 if index % 12 == 0 else 14)
        choices = [text(rng, 30 if index % 9 == 0 else 7) or "x" for _ in range(4)]
        if index % 5 == 0:
            choices[2] = query[2:9] + choices[2]
        best = process.extractOne(query, choices)[0]
        scores = [process.extractOne(query, [choice])[1] for choice in choices]
        rows.append({"text": query, "choices": choices, "best": choices.index(best), "scores": scores})
    target = pathlib.Path(__file__).with_suffix(".json")
    target.write_text("[\n" + ",\n".join(json.dumps(r, ensure_ascii=False) for r in rows) + "\n]\n", encoding="utf-8")


if __name__ == "__main__":
    main()
