"""Scores the mini suites with the PyTorch module, or with transformers as a check.

    python evaluate.py [--checkpoint PATH] [--transformers FOLDER] [--limit N]

The prompts are those of evals/mini/README.md. Generation is greedy. Intervals are Wilson's, 95 %.
Code of humaneval-mini runs in a child process with no builtins beyond those that its solutions need.
"""

import argparse
import json
import math
import re
import subprocess
import sys
from pathlib import Path

import torch
from tokenizers import Tokenizer

import code_tasks
import math_problems
from chinese import CHINESE
from documents import SYSTEM
from english import ENGLISH
from export import latest, load
from make_suites import SUITES
from mc import LETTERS, with_choices
from train import HERE

BUILTINS = "abs all any bool dict enumerate filter int len list map max min range reversed set sorted str sum tuple zip AssertionError"
RUNNER = f"""
import builtins, sys
exec(sys.stdin.read(), {{"__builtins__": {{name: getattr(builtins, name) for name in "{BUILTINS}".split()}}}})
"""


def chat(user: str) -> str:
    """The chat template's rendering of one user message, with the generation prompt."""
    return f"<|im_start|>system\n{SYSTEM}<|im_end|>\n<|im_start|>user\n{user}<|im_end|>\n<|im_start|>assistant\n"


def wilson(hits: int, count: int) -> tuple[float, float]:
    """The 95 % interval of a share."""
    z, p = 1.96, hits / count
    middle, spread = p + z * z / (2 * count), z * math.sqrt(p * (1 - p) / count + z * z / (4 * count * count))
    return max(0.0, (middle - spread) / (1 + z * z / count)), min(1.0, (middle + spread) / (1 + z * z / count))


class Engine:
    """Greedy generation and log-likelihoods.

    `logits(ids)` gives all logits of a batch; `step(ids, cache)` the last ones and the cache to go on with.
    """

    def __init__(self, logits, step, tokenizer: Tokenizer):
        self.logits, self.step, self.tokenizer = logits, step, tokenizer
        self.stops = {tokenizer.token_to_id("<|im_end|>"), tokenizer.token_to_id("<|endoftext|>")}

    def generate(self, prompts: list[str], limit: int) -> list[str]:
        """Greedy continuations up to a stop token; prompts of one length make a batch."""
        rows = [self.tokenizer.encode(prompt).ids for prompt in prompts]
        by_length: dict[int, list[int]] = {}
        for i, row in enumerate(rows):
            by_length.setdefault(len(row), []).append(i)
        outputs = [""] * len(rows)
        for members in by_length.values():
            for i, ids in zip(members, self.continuations([rows[i] for i in members], limit)):
                outputs[i] = self.tokenizer.decode(ids)
        return outputs

    @torch.no_grad()
    def continuations(self, rows: list[list[int]], limit: int) -> list[list[int]]:
        """Greedy token ids for prompts of one length."""
        made, done = [[] for _ in rows], set()
        ids, cache = torch.tensor(rows), None
        for _ in range(limit):
            scores, cache = self.step(ids, cache)
            ids = scores.argmax(-1, keepdim=True)
            for i, token in enumerate(ids[:, 0].tolist()):
                if token in self.stops:
                    done.add(i)
                elif i not in done:
                    made[i].append(token)
            if len(done) == len(rows):
                break
        return made

    @torch.no_grad()
    def likelihoods(self, prompt: str, continuations: list[str]) -> list[float]:
        """Sum of log-probabilities of every continuation."""
        context = self.tokenizer.encode(prompt).ids
        tails = [self.tokenizer.encode(text).ids for text in continuations]
        width = max(map(len, tails))
        rows = torch.tensor([context + tail + [0] * (width - len(tail)) for tail in tails])
        everything = torch.log_softmax(self.logits(rows).float(), -1)
        first = len(context) - 1
        return [sum(everything[i, first + j, token].item() for j, token in enumerate(tail)) for i, tail in enumerate(tails)]


def module_engine(path: Path, tokenizer: Tokenizer) -> Engine:
    """The engine on our own module, with weights rounded to bf16 and float32 arithmetic."""
    model, state = load(path)
    for parameter in model.parameters():
        parameter.data = parameter.data.bfloat16().float()
    print(f"{state['tokens']:,} tokens trained")

    def step(ids, cache):
        cache = cache or [[] for _ in model.layers]
        return model.lm_head(model(ids, cache)[0][:, -1]), cache

    return Engine(lambda ids: model.lm_head(model(ids)[0]), step, tokenizer)


def transformers_engine(folder: str, tokenizer: Tokenizer) -> Engine:
    """The engine on transformers' class, float32 arithmetic."""
    from transformers import AutoModelForCausalLM
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()

    def step(ids, cache):
        out = model(input_ids=ids, past_key_values=cache, use_cache=True)
        return out.logits[:, -1], out.past_key_values

    return Engine(lambda ids: model(input_ids=ids).logits, step, tokenizer)


def read(name: str, limit: int) -> list[dict]:
    lines = (SUITES / f"{name}.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines[:limit]]


def score_choices(engine: Engine, book, name: str, limit: int) -> dict[str, list[bool]]:
    """Chat (the letter that ends the reply), text (what its last line names), letter and cloze (by likelihood)."""
    items = read(name, limit)
    outputs = engine.generate([chat(with_choices(i["question"], i["choices"])) for i in items], 48)
    results = {"chat": [parse_letter(out) == i["answer"] for out, i in zip(outputs, items)],
               "text": [parse_text(out) == i["choices"][i["answer"]] for out, i in zip(outputs, items)], "letter": [], "cloze": []}
    for item in items:
        prompt = book.plain_prompt(with_choices(item["question"], item["choices"]))
        letters = engine.likelihoods(prompt, [f" {letter}" for letter in LETTERS])
        results["letter"].append(letters.index(max(letters)) == item["answer"])
        texts = engine.likelihoods(book.plain_prompt(item["question"]), [f" {choice}<|endoftext|>" for choice in item["choices"]])
        results["cloze"].append(texts.index(max(texts)) == item["answer"])
    return results


REPLY = re.compile(r"(?:Answer|答案): (.+) ([A-D])\s*$")


def parse_letter(text: str) -> int | None:
    """The place of the letter that ends the reply."""
    found = REPLY.search(text)
    return LETTERS.index(found.group(2)) if found else None


def parse_text(text: str) -> str | None:
    """The text that the reply's last line names."""
    found = REPLY.search(text)
    return found.group(1) if found else None


def score_math(engine: Engine, limit: int) -> dict[str, list[bool]]:
    """Chat and plain form; the number after `####` must be right."""
    items = read("gsm8k-mini", limit)
    results = {}
    for form, prompts in {"chat": [chat(i["question"]) for i in items],
                          "plain": [math_problems.plain_prompt(i["question"]) for i in items]}.items():
        outputs = engine.generate(prompts, 64)
        results[form] = [final_number(out) == final_number(i["answer"]) for out, i in zip(outputs, items)]
    return results


def final_number(text: str) -> str | None:
    """The number after `####`."""
    found = re.search(r"#### (-?\d+)", text)
    return found.group(1) if found else None


def score_code(engine: Engine, limit: int) -> dict[str, list[bool]]:
    """Plain completion of the prompt, and the function given in chat form."""
    items = read("humaneval-mini", limit)
    bodies = engine.generate([i["prompt"] for i in items], 48)
    functions = engine.generate([chat(code_tasks.chat_prompt(i["prompt"])) for i in items], 72)
    return {"plain": [passes(i["prompt"] + body, i) for body, i in zip(bodies, items)],
            "chat": [passes(function, i) for function, i in zip(functions, items)]}


def passes(program: str, item: dict) -> bool:
    """Whether the program passes the item's tests within two seconds."""
    program += f"\n\n{item['test']}\ncheck({item['entry_point']})\n"
    try:
        done = subprocess.run([sys.executable, "-I", "-c", RUNNER], input=program, text=True, timeout=2, capture_output=True)
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--checkpoint", type=Path)
    parser.add_argument("--transformers", metavar="FOLDER")
    parser.add_argument("--limit", type=int, default=1000)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, help="also write the scores as JSON")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    tokenizer = Tokenizer.from_file(str(HERE.parent / "tokenizer.json"))
    if arguments.transformers:
        engine = transformers_engine(arguments.transformers, tokenizer)
    else:
        engine = module_engine(arguments.checkpoint or latest(), tokenizer)
    suites = {"mmlu-mini": lambda: score_choices(engine, ENGLISH, "mmlu-mini", arguments.limit),
              "ceval-mini": lambda: score_choices(engine, CHINESE, "ceval-mini", arguments.limit),
              "gsm8k-mini": lambda: score_math(engine, arguments.limit),
              "humaneval-mini": lambda: score_code(engine, arguments.limit)}
    scores = {}
    for name, run in suites.items():
        for form, hits in run().items():
            low, high = wilson(sum(hits), len(hits))
            print(f"{name:15} {form:7} {sum(hits) / len(hits):6.1%}  [{low:.1%}, {high:.1%}]  n={len(hits)}", flush=True)
            scores[f"{name}/{form}"] = {"hits": sum(hits), "n": len(hits), "low": round(low, 4), "high": round(high, 4)}
    if arguments.out:
        arguments.out.write_text(json.dumps(scores, indent=2) + "\n")


if __name__ == "__main__":
    main()
