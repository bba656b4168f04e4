"""Turns exercises into rows of token ids with a weight and a domain for every token.

A row is made from (seed, step, row) alone, so the position in the data is the step: no text is stored and
none is seen twice by plan. Six rows of ten are chats, the others plain texts divided by `<|endoftext|>`.
"""

from random import Random

import numpy as np

from exercises import CHAT, DOMAINS, PASSAGES, PLAIN

SYSTEM = "You are a helpful assistant."
OTHER_SYSTEMS = ["You are a kind teacher.", "Answer briefly.", "你是一个有用的助手。"]

PROMPT_WEIGHT, ANSWER_WEIGHT, PASSAGE_WEIGHT = 0.1, 2.0, 0.5

# Tokens seen -> shares of the domains and of the kinds of exercise; between two points the shares are interpolated.
CURRICULUM = [
    (0, {"domains": [0.30, 0.28, 0.28, 0.14], "kinds": {"open": 0.60, "choice": 0.15, "match": 0.25}}),
    (1_000_000, {"domains": [0.30, 0.28, 0.30, 0.12], "kinds": {"open": 0.40, "choice": 0.35, "match": 0.25}}),
    (3_000_000, {"domains": [0.30, 0.28, 0.30, 0.12], "kinds": {"open": 0.30, "choice": 0.55, "match": 0.15}}),
    (8_000_000, {"domains": [0.30, 0.28, 0.30, 0.12], "kinds": {"open": 0.30, "choice": 0.65, "match": 0.05}}),
]


def shares(tokens_seen: int) -> dict:
    """The mix at a position of the curriculum."""
    for (start, low), (end, high) in zip(CURRICULUM, CURRICULUM[1:]):
        if tokens_seen < end:
            t = (tokens_seen - start) / (end - start)
            kinds = {kind: (1 - t) * low["kinds"][kind] + t * high["kinds"][kind] for kind in low["kinds"]}
            domains = [(1 - t) * a + t * b for a, b in zip(low["domains"], high["domains"])]
            return {"domains": domains, "kinds": kinds}
    return CURRICULUM[-1][1]


def chat_turn(user: str, assistant: str) -> list[tuple[str, float]]:
    """One exchange in Qwen2's chat form as pieces of text with their loss weights."""
    return [(f"<|im_start|>user\n{user}<|im_end|>\n<|im_start|>assistant\n", PROMPT_WEIGHT),
            (f"{assistant}<|im_end|>", ANSWER_WEIGHT), ("\n", PROMPT_WEIGHT)]


def system_turn(text: str) -> tuple[str, float]:
    """The system message that opens a chat."""
    return (f"<|im_start|>system\n{text}<|im_end|>\n", PROMPT_WEIGHT)


class RowMaker:
    """Makes the rows of a step."""

    def __init__(self, tokenizer, seed: int):
        self.tokenizer = tokenizer
        self.seed = seed

    def batch(self, step: int, tokens_seen: int, rows: int, length: int) -> dict[str, np.ndarray]:
        """Token ids [rows, length + 1], and weights and domains of the predicted tokens [rows, length]."""
        mix = shares(tokens_seen)
        made = [self.row(Random(f"{self.seed}/{step}/{row}"), mix, length + 1) for row in range(rows)]
        ids, weights, domains = (np.stack(part) for part in zip(*made))
        return {"ids": ids, "weights": weights[:, 1:], "domains": domains[:, 1:]}

    def row(self, rng: Random, mix: dict, length: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """One row, cut at `length` tokens."""
        ids, weights, domains = [], [], []
        row_domain = rng.choices(DOMAINS, mix["domains"])[0]
        mixed = rng.random() < 0.1
        build = self.conversation if rng.random() < 0.6 else self.plain_text
        while len(ids) < length:
            for domain, text, weight in build(rng, row_domain, mix, mixed):
                piece = self.tokenizer.encode(text).ids
                ids += piece
                weights += [weight] * len(piece)
                domains += [DOMAINS.index(domain)] * len(piece)
        return (np.array(ids[:length], np.int64), np.array(weights[:length], np.float32),
                np.array(domains[:length], np.int64))

    def conversation(self, rng: Random, domain: str, mix: dict, mixed: bool):
        """A chat of one to four exchanges."""
        system = SYSTEM if rng.random() < 0.9 else rng.choice(OTHER_SYSTEMS)
        yield domain, *system_turn(system)
        for _ in range(rng.randint(1, 4)):
            if mixed:
                domain = rng.choices(DOMAINS, mix["domains"])[0]
            kind = rng.choices(list(mix["kinds"]), list(mix["kinds"].values()))[0]
            for text, weight in chat_turn(*CHAT[domain][kind](rng)):
                yield domain, text, weight

    def plain_text(self, rng: Random, domain: str, mix: dict, mixed: bool):
        """A plain exercise or a passage, closed by `<|endoftext|>`."""
        if mixed:
            domain = rng.choices(DOMAINS, mix["domains"])[0]
        if rng.random() < 0.2:
            yield domain, PASSAGES[domain](rng) + "<|endoftext|>", PASSAGE_WEIGHT
            return
        kind = rng.choices(list(mix["kinds"]), list(mix["kinds"].values()))[0]
        prompt, answer = PLAIN[domain][kind](rng)
        yield domain, prompt, PROMPT_WEIGHT
        yield domain, answer + "<|endoftext|>", ANSWER_WEIGHT
