"""Measures how the domains use the experts, on the texts of the four suites with their reference answers.

    python expert_use.py [--checkpoint PATH] [--limit N] [--out FILE]

1. Load: the share of routed slots of every expert, by layer and domain.
2. Difference: the mutual information of domain and expert in every layer, against 500 permutations of the
   domain labels over whole texts.
3. Removal: in every layer the two experts that a domain favours most (its load against the mean of the
   others) are masked, so that tokens go to the next ones. The damage is the change of the answer's loss (nats a
   token). Two questions, each with an interval and a p-value, for every ordered pair of domains (`removal.py`):
   own: does a text suffer more without its domain's favourites than without another's? (paired: same text, two maskings)
   aimed: does the loss of a domain's favourites hurt its own texts more than another's? (two sets of texts, one masking)
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from tokenizers import Tokenizer

from chinese import CHINESE
from english import ENGLISH
from evaluate import chat, read
from export import latest, load
from exercises import DOMAINS
from mc import with_choices
from removal import removal
from train import HERE


def texts(limit: int) -> list[tuple[int, str, str]]:
    """(domain, prompt, answer) of the suites in their main forms."""
    found = []
    for domain, (name, book) in enumerate((("mmlu-mini", ENGLISH), ("ceval-mini", CHINESE))):
        for item in read(name, limit):
            answer = book.listed(item["choices"], item["answer"]) + "<|im_end|>"
            found.append((domain, chat(with_choices(item["question"], item["choices"])), answer))
    found += [(2, chat(item["question"]), item["answer"] + "<|im_end|>") for item in read("gsm8k-mini", limit)]
    found += [(3, item["prompt"], item["canonical_solution"] + "<|endoftext|>") for item in read("humaneval-mini", limit)]
    return found


@torch.no_grad()
def measure(model, rows: list[tuple[list[int], int]]) -> tuple[np.ndarray, np.ndarray]:
    """Counts [texts, layers, experts] and the mean answer loss [texts] of (ids, length of the prompt)."""
    counts, answer_loss = [], []
    for ids, start in rows:
        hidden, _, chosen = model(torch.tensor([ids]))
        token = F.cross_entropy(model.lm_head(hidden)[0, start - 1:-1], torch.tensor(ids[start:]))
        answer_loss.append(token.item())
        counts.append([torch.bincount(layer.flatten(), minlength=model.config.num_experts).tolist() for layer in chosen])
    return np.array(counts, float), np.array(answer_loss)


def load_by_domain(counts: np.ndarray, domains: np.ndarray) -> np.ndarray:
    """Shares [layers, domains, experts]."""
    summed = np.stack([counts[domains == d].sum(0) for d in range(len(DOMAINS))], 1)
    return summed / summed.sum(-1, keepdims=True)


def mutual_information(counts: np.ndarray, domains: np.ndarray) -> np.ndarray:
    """Nats that the expert tells about the domain, in every layer, with every domain weighted alike."""
    share = load_by_domain(counts, domains)
    mean = share.mean(1, keepdims=True)
    return (share * np.log(np.maximum(share, 1e-12) / np.maximum(mean, 1e-12))).sum(-1).mean(1)


def favourites(share: np.ndarray, domain: int, count: int = 2) -> np.ndarray:
    """The experts [layers, count] whose load in a domain most exceeds the mean of the other domains."""
    others = np.delete(share, domain, 1).mean(1)
    return np.argsort(others - share[:, domain], -1)[:, :count]


def masked(model, experts: np.ndarray) -> list:
    """Hooks that take experts out of every layer's router; call .remove() on each."""
    def mask(chosen):
        def hook(_module, _inputs, logits):
            logits = logits.clone()
            logits[:, chosen] = -torch.inf
            return logits
        return hook
    return [layer.mlp.gate.register_forward_hook(mask(torch.tensor(chosen))) for layer, chosen in zip(model.layers, experts)]


def damage(model, rows: list, experts: np.ndarray, base: np.ndarray) -> np.ndarray:
    """Change of the answer loss [texts] when these experts [layers, count] are masked."""
    hooks = masked(model, experts)
    change = measure(model, rows)[1] - base
    for hook in hooks:
        hook.remove()
    return change


def first_texts(domains: np.ndarray, base: np.ndarray, damages: np.ndarray, count: int = 6) -> dict:
    """Loss and damages of the first texts of every domain, for another engine to be compared with."""
    picked = np.concatenate([np.flatnonzero(domains == d)[:count] for d in range(len(DOMAINS))])
    return {"of_each_suite": count, "loss": base[picked].round(6).tolist(),
            "damage": {name: row[picked].round(6).tolist() for name, row in zip(DOMAINS, damages)}}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--checkpoint", type=Path)
    parser.add_argument("--limit", type=int, default=150, help="texts of each suite")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    model, state = load(arguments.checkpoint or latest())
    for parameter in model.parameters():
        parameter.data = parameter.data.bfloat16().float()
    tokenizer = Tokenizer.from_file(str(HERE.parent / "tokenizer.json"))
    found = texts(arguments.limit)
    domains = np.array([domain for domain, _, _ in found])
    rows = []
    for _, prompt, answer in found:
        context = tokenizer.encode(prompt).ids
        rows.append((context + tokenizer.encode(answer).ids, len(context)))

    rng = np.random.default_rng(1)
    counts, base = measure(model, rows)
    share = load_by_domain(counts, domains)
    information = mutual_information(counts, domains)
    null = np.stack([mutual_information(counts, rng.permutation(domains)) for _ in range(500)])
    experts = [favourites(share, d) for d in range(len(DOMAINS))]
    damages = np.stack([damage(model, rows, chosen, base) for chosen in experts])
    result = {"tokens_trained": state["tokens"], "texts_per_domain": np.bincount(domains).tolist(),
              "load": share.round(4).tolist(), "mutual_information": information.round(4).tolist(),
              "null_maximum": null.max(0).round(4).tolist(), "base_loss": [base[domains == d].mean().round(4) for d in range(4)],
              "first_texts": first_texts(domains, base, damages),
              "favourites": {name: chosen.tolist() for name, chosen in zip(DOMAINS, experts)},
              "removal": removal(rng, damages, domains)}
    text = json.dumps(result, indent=1)
    print(text)
    if arguments.out:
        arguments.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
