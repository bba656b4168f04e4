"""Writes models/demo/README.md and loss.svg from run.json, expert-use.json and the three scores*.json.

    python card.py
"""

import json
from string import Template

from exercises import DOMAINS
from train import HERE

FOLDER = HERE.parent
COLOURS = {"english": "#1f77b4", "chinese": "#d62728", "math": "#2ca02c", "code": "#9467bd"}
TASKS = "mmlu-mini,mmlu-mini:letter,mmlu-mini:cloze,ceval-mini,ceval-mini:letter,ceval-mini:cloze,gsm8k-mini,gsm8k-mini:plain,humaneval-mini,humaneval-mini:chat"
MAIN = {"mmlu-mini": "chat", "ceval-mini": "chat", "gsm8k-mini": "chat", "humaneval-mini": "plain"}


def read(name: str) -> dict:
    return json.loads((FOLDER / name).read_text())


def loss_plot(log: list[dict], width: int = 640, height: int = 300) -> str:
    """The loss of the answers by domain over the tokens seen, as an SVG with a square-root ordinate."""
    left, bottom, top, right = 45, 35, 15, 90
    most = log[-1]["tokens"]
    highest = max(max(line["answer_loss"].values()) for line in log)

    def x(tokens: float) -> float:
        return left + (width - left - right) * tokens / most

    def y(loss: float) -> float:
        return top + (height - top - bottom) * (1 - (max(loss, 0) / highest) ** 0.5)

    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" font-family="sans-serif" font-size="11">',
             f'<rect width="{width}" height="{height}" fill="white"/>']
    for loss in (0, 0.1, 0.5, 1, 2, 4, 7):
        if loss <= highest:
            parts.append(f'<line x1="{left}" x2="{width - right}" y1="{y(loss):.1f}" y2="{y(loss):.1f}" stroke="#ddd"/>'
                         f'<text x="{left - 6}" y="{y(loss) + 4:.1f}" text-anchor="end">{loss}</text>')
    for share in (0, 0.25, 0.5, 0.75, 1):
        parts.append(f'<text x="{x(most * share):.1f}" y="{height - 16}" text-anchor="middle">{most * share / 1e6:.1f} M</text>')
    parts.append(f'<text x="{(left + width - right) / 2}" y="{height - 3}" text-anchor="middle">tokens seen</text>')
    for row, domain in enumerate(DOMAINS):
        points = " ".join(f"{x(line['tokens']):.1f},{y(line['answer_loss'][domain]):.1f}" for line in log)
        parts.append(f'<polyline points="{points}" fill="none" stroke="{COLOURS[domain]}" stroke-width="1.5"/>'
                     f'<text x="{width - right + 10}" y="{top + 15 + 16 * row}" fill="{COLOURS[domain]}">{domain}</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"


def loss_table(log: list[dict], rows: int = 8) -> str:
    """The same numbers at a few places."""
    picked = sorted({round(i * (len(log) - 1) / (rows - 1)) for i in range(rows)})
    lines = ["| tokens | " + " | ".join(DOMAINS) + " |", "|---|" + "---|" * len(DOMAINS)]
    for i in picked:
        lines.append(f"| {log[i]['tokens']:,} | " + " | ".join(f"{log[i]['answer_loss'][d]:.3f}" for d in DOMAINS) + " |")
    return "\n".join(lines)


def score_table(ours: list[dict], module: dict, peer: dict) -> str:
    """moescope's scores with their intervals, and the scores of the PyTorch module and of transformers; main forms in bold."""
    lines = ["| suite | form | score | 95 % interval | n | chance | PyTorch | transformers |", "|---|---|---|---|---|---|---|---|"]
    names = sorted(MAIN, key=len, reverse=True)
    for task in ours:
        suite = next(name for name in names if task["name"].startswith(name))
        form = task["name"][len(suite) + 1:] or MAIN[suite]
        value, (low, high), count = (task["estimate"][key] for key in ("value", "interval", "n"))
        bold = "**" if MAIN[suite] == form else ""
        chance = "25 %" if suite in ("mmlu-mini", "ceval-mini") else "0 %"
        others = " | ".join(share(scores.get(f"{suite}/{form}")) for scores in (module, peer))
        lines.append(f"| {suite} | {bold}{form}{bold} | {bold}{value:.1%}{bold} | "
                     f"{low:.1%} to {high:.1%} | {count} | {chance} | {others} |")
    return "\n".join(lines)


def share(score: dict | None) -> str:
    return "-" if score is None else f"{score['hits'] / score['n']:.1%}"


def load_table(use: dict) -> str:
    """Share of the routed slots of every expert, by layer and domain."""
    experts = len(use["load"][0][0])
    lines = ["| layer | domain | " + " | ".join(f"e{e}" for e in range(experts)) + " |", "|---|---|" + "---|" * experts]
    for layer, domains in enumerate(use["load"]):
        for domain, share in zip(DOMAINS, domains):
            lines.append(f"| {layer} | {domain} | " + " | ".join(f"{100 * s:.0f}" for s in share) + " |")
    return "\n".join(lines)


def damage_table(use: dict) -> str:
    """Change of the answer's loss when a domain's two favourite experts of every layer are masked, with intervals."""
    lines = ["| favourites of | " + " | ".join(DOMAINS) + " |", "|---|" + "---|" * len(DOMAINS)]
    for domain in DOMAINS:
        damage = use["removal"][domain]["damage"]
        cells = [f"{damage[d]['mean']:+.3f} ({damage[d]['low']:+.3f} to {damage[d]['high']:+.3f})" for d in DOMAINS]
        lines.append(f"| {domain} | " + " | ".join(f"**{cell}**" if d == domain else cell for d, cell in zip(DOMAINS, cells)) + " |")
    return "\n".join(lines)


def claims_table(use: dict) -> str:
    """Both readings for every ordered pair of domains."""
    lines = ["| domain | other | own: less damage by the other's favourites | p | aimed: less damage to the other's texts | p |",
             "|---|---|---|---|---|---|"]
    for domain in DOMAINS:
        removal = use["removal"][domain]
        for other in removal["own"]:
            cells = []
            for pair in (removal["own"][other], removal["aimed"][other]):
                cells += [f"{pair['mean']:+.3f} ({pair['low']:+.3f} to {pair['high']:+.3f})", f"{pair['p_holm']:.4f}"]
            lines.append(f"| {domain} | {other} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def claims_sentence(use: dict) -> str:
    """How many of the twelve ordered pairs hold in each reading: interval above zero and corrected p below 0.05."""
    held = {}
    for reading in ("own", "aimed"):
        pairs = [pair for domain in DOMAINS for pair in use["removal"][domain][reading].values()]
        held[reading] = sum(pair["low"] > 0 and pair["p_holm"] < 0.05 for pair in pairs)
    return f"*own* holds for {held['own']} and *aimed* for {held['aimed']} of the twelve ordered pairs"


def main():
    run, use = read("run.json"), read("expert-use.json")
    scores = (read(f"scores{name}.json") for name in ("-moescope", "", "-transformers"))
    (FOLDER / "loss.svg").write_text(loss_plot(run["log"]))
    smallest = min(sum(shares) / len(shares) for layer in use["load"] for shares in zip(*layer))
    card = Template((HERE / "card.md").read_text()).substitute(
        tokens=f"{run['tokens']:,}", steps=f"{run['steps']:,}", seed=run["seed"], torch=run["versions"]["torch"],
        decay_from=run["decay_from"], decay_tokens=run["decay_tokens"],
        eval_tasks=TASKS, loss_table=loss_table(run["log"]), score_table=score_table(*scores), load_table=load_table(use),
        information=" | ".join(f"{v:.3f}" for v in use["mutual_information"]), null=" | ".join(f"{v:.3f}" for v in use["null_maximum"]),
        damage_table=damage_table(use), claims_table=claims_table(use), claims=claims_sentence(use), smallest=f"{100 * smallest:.1f} %", texts=use["texts_per_domain"][0])
    (FOLDER / "README.md").write_text(card)


if __name__ == "__main__":
    main()
