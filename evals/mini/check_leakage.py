"""Checks that no test item leaks into the training text.

    python evals/mini/check_leakage.py [--texts N]

Rule: texts are cut into words (runs of letters, digits and underscores in lower case; every Chinese character
is a word; everything else is dropped). No run of 13 words of a test item (question with its choices or worked
answer; prompt with its solution) may occur in a training text. Excused is only a run all of whose words come
from the table of facts (the noun phrase that names the fact, and the lettered choices), or are code (the example
in a docstring, and the solution), as facts and programs are what is learnt. The training texts are
N draws from every training generator, N = 6,000 unless told. Needs only the Python standard library.
"""

import argparse
import json
import re
import sys
from pathlib import Path
from random import Random

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1] / "models" / "demo" / "train"))

import code_tasks  # noqa: E402
import math_problems  # noqa: E402
from chinese import CHINESE  # noqa: E402
from english import ENGLISH  # noqa: E402
from exercises import CHAT, DOMAINS, PASSAGES, PLAIN  # noqa: E402
from mc import with_choices  # noqa: E402

RUN = 13


def words(text: str) -> list[str]:
    """The words of a text under the rule above."""
    return re.findall(r"[\u4e00-\u9fff]|[^\W_\u4e00-\u9fff]+(?:_[^\W_\u4e00-\u9fff]+)*", text.lower())


def runs(listed: list[str]) -> list[tuple[str, ...]]:
    """All runs of 13 words."""
    return list(zip(*(listed[i:] for i in range(RUN))))


def read(name: str) -> list[dict]:
    return [json.loads(line) for line in (HERE / f"{name}.jsonl").read_text().splitlines()]


def wording_runs(whole: list[str], wording: list[bool]) -> list[tuple[str, ...]]:
    """The runs that hold at least one word of the item's own wording."""
    return [run for i, run in enumerate(runs(whole)) if any(wording[i:i + RUN])]


def code_runs(item: dict) -> list[tuple[str, ...]]:
    """Runs of a program, without those that lie in its example and its body."""
    head = words(item["prompt"].split(">>>")[0])
    whole = words(item["prompt"] + item["canonical_solution"])
    return wording_runs(whole, [i < len(head) for i in range(len(whole))])


def choice_runs(book, item: dict) -> list[tuple[str, ...]]:
    """Runs of a four-choice item, without those made of table words alone."""
    question = item["question"].lower()
    phrases = [p.format(x=x).lower() for r in book.relations for p in r.phrases for x in r.facts]
    phrase = max((p for p in phrases if p in question), key=len)
    before, after = (words(part) for part in question.split(phrase, 1))
    from_table = words(phrase)
    whole = words(with_choices(item["question"], item["choices"]))
    wording = [True] * len(before) + [False] * len(from_table) + [True] * len(after)
    return wording_runs(whole, wording + [False] * (len(whole) - len(wording)))


def test_runs() -> dict[tuple[str, ...], str]:
    """Every run that must not be met, with the item it comes from."""
    found = {}
    for name, book in (("mmlu-mini", ENGLISH), ("ceval-mini", CHINESE)):
        for item in read(name):
            found.update((run, item["id"]) for run in choice_runs(book, item))
    for item in read("gsm8k-mini"):
        found.update((run, item["id"]) for run in runs(words(item["question"] + "\n" + item["answer"])))
    for item in read("humaneval-mini"):
        found.update((run, item["task_id"]) for run in code_runs(item))
    return found


def training_texts(count: int):
    """Draws from every generator that training uses."""
    rng = Random("leakage")
    for domain in DOMAINS:
        for make in (*CHAT[domain].values(), *PLAIN[domain].values()):
            for _ in range(count):
                yield "\n".join(make(rng))
        for _ in range(count):
            yield PASSAGES[domain](rng)


def check_parts():
    """The parts from which both sides are built do not overlap."""
    for book in (ENGLISH, CHINESE):
        assert not set(book.train_frames) & set(book.test_frames)
    train, test = math_problems.TRAIN, math_problems.TEST
    for part in ("names", "things", "openings", "gains", "losses", "questions", "packs"):
        assert not set(getattr(train, part)) & set(getattr(test, part)), part
    assert not set(code_tasks.TRAIN_SUFFIXES) & set(code_tasks.TEST_SUFFIXES)
    for family in code_tasks.FAMILIES:
        assert family.docs[-1] not in family.docs[:-1], family.body


def check_solutions():
    """Every canonical solution passes its tests."""
    for item in read("humaneval-mini"):
        scope: dict = {}
        exec(item["prompt"] + item["canonical_solution"] + item["test"], scope)
        scope["check"](scope[item["entry_point"]])


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--texts", type=int, default=6000)
    arguments = parser.parse_args()
    check_parts()
    check_solutions()
    forbidden = test_runs()
    leaks, texts = {}, 0
    for text in training_texts(arguments.texts):
        texts += 1
        for run in runs(words(text)):
            if run in forbidden:
                leaks.setdefault(forbidden[run], " ".join(run))
    print(f"{len(forbidden):,} runs of {RUN} words against {texts:,} training texts: {len(leaks)} items leak")
    for item, run in sorted(leaks.items())[:20]:
        print(f"  {item}: {run}")
    return 1 if leaks else 0


if __name__ == "__main__":
    sys.exit(main())
