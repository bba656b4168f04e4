"""Turns exercises into rows of token ids with a weight and a domain for every token.

A row is made from (seed, step, row) alone, so the position in the data is the step: no text is stored and
none is seen twice. Six rows of ten are chats, the others plain texts divided by `<|endoftext|>`.
"""

from dataclasses import dataclass
from random import Random

import numpy as np

from exercises import CHAT, DOMAINS, KINDS, PASSAGES, PLAIN
from mc import LETTERS

SYSTEM = "You are a helpful assistant."
OTHER_SYSTEMS = ["You are a kind teacher.", "Answer briefly.", "你是一个有用的助手。"]

PROMPT_WEIGHT, ANSWER_WEIGHT, PASSAGE_WEIGHT = 0.1, 2.0, 0.5

# Tokens seen, shares of the domains, shares of the kinds of exercise, weight of an answer's letter.
# Between two points everything is interpolated.
CURRICULUM = [
    (0, [0.30, 0.28, 0.28, 0.14], [0.60, 0.15, 0.25, 0, 0, 0, 0, 0, 0, 0], 2),
    (1_000_000, [0.30, 0.28, 0.30, 0.12], [0.40, 0.35, 0.25, 0, 0, 0, 0, 0, 0, 0], 2),
    (1_500_000, [0.30, 0.28, 0.30, 0.12], [0.375, 0.40, 0.225, 0, 0, 0, 0, 0, 0, 0], 2),
    (1_600_000, [0.298, 0.279, 0.304, 0.119], [0.3625, 0.42, 0.2175, 0, 0, 0, 0, 0, 0, 0], 2),
    (1_650_000, [0.32, 0.30, 0.26, 0.12], [0.20, 0.27, 0.05, 0.30, 0.18, 0, 0, 0, 0, 0], 8),
    (2_500_000, [0.28, 0.27, 0.34, 0.11], [0.20, 0.52, 0.03, 0.17, 0.08, 0, 0, 0, 0, 0], 8),
    (2_520_000, [0.34, 0.32, 0.24, 0.10], [0.10, 0.15, 0.05, 0.25, 0.10, 0.35, 0, 0, 0, 0], 6),
    (3_200_000, [0.30, 0.29, 0.31, 0.10], [0.12, 0.35, 0.05, 0.25, 0.06, 0.17, 0, 0, 0, 0], 6),
    (3_543_040, [0.297361, 0.287361, 0.312639, 0.102639], [0.14111, 0.429163, 0.042084, 0.205141, 0.049445, 0.133057, 0.0, 0, 0, 0], 5.472246),
    (3_553_040, [0.33, 0.32, 0.27, 0.08], [0.10, 0.28, 0.02, 0.10, 0.04, 0.06, 0.40, 0, 0, 0], 6),
    (4_018_176, [0.320356, 0.310356, 0.286073, 0.083215], [0.119287, 0.382866, 0.02, 0.087142, 0.036785, 0.050356, 0.303563, 0, 0, 0], 5.357085),
    (4_028_176, [0.31, 0.30, 0.33, 0.06], [0.22, 0, 0, 0, 0.05, 0.05, 0, 0.68, 0, 0], 2),
    (5_054_464, [0.303027, 0.293027, 0.336973, 0.066973], [0.275783, 0.0, 0.0, 0.0, 0.036054, 0.029081, 0.0, 0.659081, 0, 0], 2),
    (5_064_464, [0.31, 0.30, 0.33, 0.06], [0.22, 0, 0, 0, 0.04, 0.04, 0, 0, 0.70, 0], 3),
    (5_619_712, [0.31, 0.30, 0.33, 0.06], [0.22, 0, 0, 0, 0.04, 0.04, 0, 0, 0.70, 0], 3),
    (5_629_712, [0.26, 0.26, 0.44, 0.04], [0.20, 0, 0, 0, 0.02, 0.02, 0, 0, 0.76, 0], 4),
    (5_771_264, [0.26, 0.26, 0.44, 0.04], [0.20, 0, 0, 0, 0.02, 0.02, 0, 0, 0.76, 0], 4),
    (5_781_264, [0.26, 0.26, 0.44, 0.04], [0.15, 0, 0, 0, 0.02, 0.02, 0, 0, 0, 0.81], 4),
    (9_146_368, [0.26, 0.26, 0.44, 0.04], [0.15, 0, 0, 0, 0.02, 0.02, 0, 0, 0, 0.81], 4),
    (9_156_368, [0.27, 0.27, 0.36, 0.10], [0.15, 0, 0, 0, 0.02, 0.02, 0, 0, 0, 0.81], 4),
    (10_125_312, [0.27, 0.27, 0.36, 0.10], [0.15, 0, 0, 0, 0.02, 0.02, 0, 0, 0, 0.81], 4),
    (10_135_312, [0.25, 0.25, 0.28, 0.22], [0.15, 0, 0, 0, 0.02, 0.02, 0, 0, 0, 0.81], 4),
]


@dataclass(frozen=True)
class Mix:
    """The mix at one position of the curriculum."""

    domains: list[float]
    kinds: list[float]
    letter_weight: float


def mix_at(tokens_seen: int) -> Mix:
    """The interpolated mix."""
    for (start, *low), (end, *high) in zip(CURRICULUM, CURRICULUM[1:]):
        if tokens_seen < end:
            t = (tokens_seen - start) / (end - start)
            between = [[(1 - t) * a + t * b for a, b in zip(first, second)] for first, second in zip(low[:2], high[:2])]
            return Mix(*between, (1 - t) * low[2] + t * high[2])
    return Mix(*CURRICULUM[-1][1:])


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
        self.letters = {tokenizer.token_to_id(prefix + letter) for letter in LETTERS for prefix in ("", "Ġ")}

    def batch(self, step: int, tokens_seen: int, rows: int, length: int) -> dict[str, np.ndarray]:
        """Token ids [rows, length + 1], and weights and domains of the predicted tokens [rows, length]."""
        mix = mix_at(tokens_seen)
        made = [self.row(Random(f"{self.seed}/{step}/{row}"), mix, length + 1) for row in range(rows)]
        ids, weights, domains = (np.stack(part) for part in zip(*made))
        return {"ids": ids, "weights": weights[:, 1:], "domains": domains[:, 1:]}

    def row(self, rng: Random, mix: Mix, length: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """One row, cut at `length` tokens."""
        ids, weights, domains = [], [], []
        row_domain = rng.choices(DOMAINS, mix.domains)[0]
        mixed = rng.random() < 0.1
        build = self.conversation if rng.random() < 0.6 else self.plain_text
        while len(ids) < length:
            for domain, text, weight in build(rng, row_domain, mix, mixed):
                piece = self.tokenizer.encode(text).ids
                ids += piece
                chosen = weight == ANSWER_WEIGHT and domain in ("english", "chinese")
                weights += [mix.letter_weight if chosen and token in self.letters else weight for token in piece]
                domains += [DOMAINS.index(domain)] * len(piece)
        return (np.array(ids[:length], np.int64), np.array(weights[:length], np.float32),
                np.array(domains[:length], np.int64))

    def conversation(self, rng: Random, domain: str, mix: Mix, mixed: bool):
        """A chat of one to four exchanges."""
        system = SYSTEM if rng.random() < 0.9 else rng.choice(OTHER_SYSTEMS)
        yield domain, *system_turn(system)
        for _ in range(rng.randint(1, 4)):
            if mixed:
                domain = rng.choices(DOMAINS, mix.domains)[0]
            kind = rng.choices(KINDS, mix.kinds)[0]
            for text, weight in chat_turn(*CHAT[domain][kind](rng)):
                yield domain, text, weight

    def plain_text(self, rng: Random, domain: str, mix: Mix, mixed: bool):
        """A plain exercise or a passage, closed by `<|endoftext|>`."""
        if mixed:
            domain = rng.choices(DOMAINS, mix.domains)[0]
        if rng.random() < 0.2:
            yield domain, PASSAGES[domain](rng) + "<|endoftext|>", PASSAGE_WEIGHT
            return
        kind = rng.choices(KINDS, mix.kinds)[0]
        prompt, answer = PLAIN[domain][kind](rng)
        yield domain, prompt, PROMPT_WEIGHT
        yield domain, answer + "<|endoftext|>", ANSWER_WEIGHT
