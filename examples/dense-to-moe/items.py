"""Texts to fit on and items to measure, from benchmark folders: python items.py DATA OUT

OUT/texts.jsonl: training and development items, {"text"}. OUT/items.jsonl: test items of four domains in turn, {"id", "group", "context",
"continuation"}: what the model reads, and the right answer. No item is in both.

DATA holds gsm8k/*.jsonl, mmlu/{dev,test}/*.csv, ceval/ceval-exam.zip, mbpp/mbpp.jsonl (tasks 601 to 974 are its training split) and
humaneval/HumanEval.jsonl.gz.
"""

import csv
import gzip
import io
import json
import random
import sys
import zipfile
from pathlib import Path

ITEMS_PER_DOMAIN = 60
MOST_CHARACTERS = 900


def main() -> None:
    data, out = Path(sys.argv[1]), Path(sys.argv[2])
    out.mkdir(parents=True, exist_ok=True)
    texts = [context + answer for part in (gsm8k(data, "train")[:250], mmlu(data, "dev"), ceval(data, "dev"), mbpp(data)) for context, answer in part]
    random.Random(0).shuffle(texts)
    write(out / "texts.jsonl", [{"text": text} for text in texts])
    domains = {"mmlu": mmlu(data, "test"), "ceval": ceval(data, "val"), "gsm8k": gsm8k(data, "test"), "humaneval": humaneval(data)}
    items = {name: some([pair for pair in pairs if len("".join(pair)) <= MOST_CHARACTERS]) for name, pairs in domains.items()}
    write(
        out / "items.jsonl",
        [
            {"id": f"{name}-{number}", "group": name, "context": pairs[number][0], "continuation": pairs[number][1]}
            for number in range(ITEMS_PER_DOMAIN)
            for name, pairs in items.items()
        ],
    )


def some(pairs: list[tuple[str, str]]) -> list[tuple[str, str]]:
    return random.Random(0).sample(pairs, ITEMS_PER_DOMAIN)


def gsm8k(data: Path, split: str) -> list[tuple[str, str]]:
    rows = [json.loads(line) for line in (data / f"gsm8k/{split}.jsonl").read_text(encoding="utf-8").splitlines()]
    return [(f"Question: {row['question']}\nAnswer:", f" {row['answer']}") for row in rows]


def mmlu(data: Path, split: str) -> list[tuple[str, str]]:
    return [choices(row) for path in sorted((data / "mmlu" / split).glob("*.csv")) for row in csv.reader(path.open(encoding="utf-8", newline=""))]


def ceval(data: Path, split: str) -> list[tuple[str, str]]:
    with zipfile.ZipFile(data / "ceval/ceval-exam.zip") as archive:
        names = sorted(name for name in archive.namelist() if name.startswith(f"{split}/") and name.endswith(".csv"))
        files = [list(csv.reader(io.StringIO(archive.read(name).decode("utf-8"), newline="")))[1:] for name in names]
    return [choices(row[1:7]) for rows in files for row in rows]


def mbpp(data: Path) -> list[tuple[str, str]]:
    rows = [json.loads(line) for line in (data / "mbpp/mbpp.jsonl").read_text(encoding="utf-8").splitlines()]
    return [(f"# {row['text']}\n", f"{row['code']}\n") for row in rows if row["task_id"] >= 601]


def humaneval(data: Path) -> list[tuple[str, str]]:
    with gzip.open(data / "humaneval/HumanEval.jsonl.gz", "rt", encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    return [(row["prompt"], row["canonical_solution"]) for row in rows]


def choices(row: list[str]) -> tuple[str, str]:
    question, *options, answer = row
    listed = "\n".join(f"{letter}. {text}" for letter, text in zip("ABCD", options, strict=True))
    return f"{question}\n{listed}\nAnswer:", f" {answer}"


def write(path: Path, rows: list[dict]) -> None:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    print(f"{path}: {len(rows)} lines")


if __name__ == "__main__":
    main()
