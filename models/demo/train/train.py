"""Trains the demo model; every start resumes from the last checkpoint.

    python train.py [--decay-tokens N] [--stop-at UNIX_TIME]

The schedule is warm-up, then constant (at two levels), then (only with --decay-tokens) a linear decay over that many tokens,
which ends the run. SIGTERM stops after the current step. The checkpoint holds weights, both optimizers, the random state and the step; as a step's
data are made from its number, that is the whole position. A decay writes `decayed.pt` and leaves the
checkpoint alone, so that the constant part can be continued.
"""

import argparse
import json
import os
import signal
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from tokenizers import Tokenizer

from documents import RowMaker
from exercises import DOMAINS
from model import Config, Qwen2Moe
from optimizer import make_optimizers

HERE = Path(__file__).resolve().parent
RUN = Path(os.environ.get("MOESCOPE_TRAIN_DIR", "~/.cache/moescope/train")).expanduser()
TOKENS_PER_STEP = 4096
WARMUP_STEPS = 60
MUON_LR, ADAM_LR = 0.02, 0.003
LOWER_AFTER, LOWER_RATE = 3_543_040, 0.35
Z_LOSS = 0.001
# Tokens seen, weight of the balance, weight of the separation of domains, power of their divergence, its cap in nats.
ROUTER_STAGES = [(0, 0.01, 0.0, 1.0, 0.3), (9_146_368, 0.01, 1.0, 1.0, 0.3), (9_691_136, 0.05, 1.0, 1.0, 0.3),
                 (10_125_312, 0.05, 2.0, 0.5, 0.3), (10_264_576, 0.05, 2.0, 0.5, 0.5)]
SEPARATE_AFTER, SEPARATE_RAMP = ROUTER_STAGES[1][0], 100_000
SAVE_SECONDS = 180
LOG_EVERY = 10


def row_length(step: int) -> int:
    """Mostly short rows, now and then long ones, so that all positions are trained."""
    return 1024 if step % 20 == 19 else 512 if step % 5 == 4 else 256


def router_losses(logits: torch.Tensor, chosen: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Load balance over the whole step (1 is even) and the mean squared log-partition."""
    count = logits.shape[-1]
    load = torch.bincount(chosen.flatten(), minlength=count) / chosen.numel()
    balance = count * (load * torch.softmax(logits, -1).mean(0)).sum()
    return balance, torch.logsumexp(logits, -1).square().mean()


def divergences(logits: torch.Tensor, domains: torch.Tensor) -> torch.Tensor:
    """How far apart the domains of a step route: for every pair of them, nats from 0 to log 2.

    It is the Jensen-Shannon divergence between their mean router probabilities.
    """
    probabilities = torch.softmax(logits, -1)
    means = [probabilities[domains == d].mean(0) for d in domains.unique().tolist()]
    pairs = [(first, second) for i, first in enumerate(means) for second in means[:i]]
    if not pairs:
        return logits.new_zeros(1)
    first, second = (torch.stack(side) for side in zip(*pairs))
    return entropy((first + second) / 2) - (entropy(first) + entropy(second)) / 2


def entropy(probabilities: torch.Tensor) -> torch.Tensor:
    """Nats, over the last dimension."""
    return torch.special.entr(probabilities).sum(-1)


def router_objective(tokens_seen: int, balance: torch.Tensor, apart: torch.Tensor) -> torch.Tensor:
    """Even load, and domains that route apart, which sets in with a ramp.

    Pairs of domains that are apart by the cap give no gradient, so that experts still serve more than one domain.
    """
    _, even, separate, power, cap = [stage for stage in ROUTER_STAGES if stage[0] <= tokens_seen][-1]
    separate *= min(1.0, max(0.0, (tokens_seen - SEPARATE_AFTER) / SEPARATE_RAMP))
    return even * balance - separate * (apart.clamp(0, cap) + 1e-6).pow(power).mean()


def losses(model: Qwen2Moe, batch: dict[str, torch.Tensor], tokens_seen: int):
    """Objective of a step, loss of every token, chosen experts of every layer, mean balance and mean separation."""
    with torch.autocast("cpu", torch.bfloat16):
        hidden, logits, chosen = model(batch["ids"][:, :-1])
        scores = model.lm_head(hidden).float()
    token = F.cross_entropy(scores.flatten(0, 1), batch["ids"][:, 1:].flatten(), reduction="none")
    weights = batch["weights"].flatten()
    language = (token * weights).sum() / weights.sum()
    balance, z = (torch.stack(part).mean() for part in zip(*map(router_losses, logits, chosen)))
    apart = torch.stack([divergences(layer, batch["domains"].flatten()) for layer in logits])
    objective = language + Z_LOSS * z + router_objective(tokens_seen, balance, apart)
    return objective, token.detach(), chosen, balance.item(), apart.mean().item()


class Meter:
    """Collects loss and expert load by domain between two log lines."""

    def __init__(self, config: Config):
        self.layers, self.experts = config.num_hidden_layers, config.num_experts
        self.clear()

    def clear(self):
        self.answer, self.count = torch.zeros(4), torch.zeros(4)
        self.load = torch.zeros(self.layers, 4, self.experts)
        self.started, self.tokens = time.time(), 0

    def add(self, token: torch.Tensor, batch: dict, chosen: list[torch.Tensor]):
        domains, answers = batch["domains"].flatten(), batch["weights"].flatten() > 1
        self.tokens += token.numel()
        for d in range(4):
            mask = answers & (domains == d)
            self.answer[d] += token[mask].sum()
            self.count[d] += mask.sum()
            for layer, experts in enumerate(chosen):
                self.load[layer, d] += torch.bincount(experts[domains == d].flatten(), minlength=self.experts)

    def line(self) -> dict:
        share = self.load / self.load.sum(-1, keepdim=True).clamp(min=1)
        return {"tokens_per_second": round(self.tokens / (time.time() - self.started)),
                "answer_loss": {d: round(float(x), 4) for d, x in zip(DOMAINS, self.answer / self.count.clamp(min=1))},
                "expert_load": [[[round(float(x), 3) for x in row] for row in layer] for layer in share]}


def save(path: Path, state: dict):
    """Writes a file that is whole or absent."""
    partial = path.with_suffix(".partial")
    torch.save(state, partial)
    os.replace(partial, path)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--steps", type=int, default=10**9, help="stop after this many steps in all")
    parser.add_argument("--decay-tokens", type=int, default=0, help="decay the rate to zero over this many tokens, then stop")
    parser.add_argument("--stop-at", type=float, default=float("inf"), help="save and stop at this time (seconds since 1970)")
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()

    torch.set_num_threads(arguments.threads)
    torch.manual_seed(arguments.seed)
    RUN.mkdir(parents=True, exist_ok=True)
    config = Config()
    model = Qwen2Moe(config)
    optimizers = make_optimizers(model, MUON_LR, ADAM_LR)
    step = 0
    checkpoint = RUN / "checkpoint.pt"
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True)
        model.load_state_dict(state["model"])
        for optimizer, saved in zip(optimizers, state["optimizers"]):
            optimizer.load_state_dict(saved)
        torch.set_rng_state(state["rng"])
        step = state["step"]
    first_step, decay_steps = step, arguments.decay_tokens // TOKENS_PER_STEP
    rows = RowMaker(Tokenizer.from_file(str(HERE.parent / "tokenizer.json")), arguments.seed)
    meter, last_save = Meter(config), time.time()
    stopping = []
    signal.signal(signal.SIGTERM, lambda *_: stopping.append(True))

    def snapshot() -> dict:
        return {"model": model.state_dict(), "optimizers": [o.state_dict() for o in optimizers], "step": step,
                "rng": torch.get_rng_state(), "seed": arguments.seed, "decay_from": first_step,
                "decay_tokens": decay_steps * TOKENS_PER_STEP,
                "config": config.as_dict(), "tokens": step * TOKENS_PER_STEP}

    with open(RUN / ("decay.jsonl" if decay_steps else "log.jsonl"), "w" if decay_steps else "a") as log:
        while step < arguments.steps:
            rate = min(1.0, (step + 1) / WARMUP_STEPS)
            if step * TOKENS_PER_STEP >= LOWER_AFTER:
                rate = LOWER_RATE
            if decay_steps:
                rate *= 1 - (step - first_step) / decay_steps
            for optimizer in optimizers:
                for group in optimizer.param_groups:
                    group["lr"] = group["base_lr"] * rate
            length = row_length(step)
            made = rows.batch(step, step * TOKENS_PER_STEP, TOKENS_PER_STEP // length, length)
            batch = {name: torch.from_numpy(array) for name, array in made.items()}
            objective, token, chosen, balance, apart = losses(model, batch, step * TOKENS_PER_STEP)
            objective.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            for optimizer in optimizers:
                optimizer.step()
            model.zero_grad(set_to_none=True)
            meter.add(token, batch, chosen)
            step += 1
            if step % LOG_EVERY == 0:
                line = {"step": step, "tokens": step * TOKENS_PER_STEP, "time": round(time.time()), "rate": round(rate, 4),
                        "balance": round(balance, 4), "separation": round(apart, 4), **meter.line()}
                log.write(json.dumps(line) + "\n")
                log.flush()
                print({key: line[key] for key in ("step", "tokens", "balance", "separation", "tokens_per_second", "answer_loss")}, flush=True)
                meter.clear()
            if decay_steps and step - first_step >= decay_steps:
                break
            if stopping or time.time() > arguments.stop_at:
                break
            if not decay_steps and time.time() - last_save > SAVE_SECONDS:
                save(checkpoint, snapshot())
                last_save = time.time()
    if not decay_steps:
        save(checkpoint, snapshot())
    elif step - first_step >= decay_steps:
        save(RUN / "decayed.pt", snapshot())


if __name__ == "__main__":
    main()
