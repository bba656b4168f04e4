"""Says whether masking a domain's favourite experts hurts that domain, from the damage done to every text.

Two readings of the claim, each for every ordered pair of domains d and e:

own     the damage to a text of d by masking d's favourites, less the damage to the same text by masking e's.
        Paired: the p-value is that of the sign-flip permutation test, one-sided.
aimed   the damage by masking d's favourites to the texts of d, less that to the texts of e.
        The two are different texts: the p-value is that of the permutation of the texts' domains, one-sided.

Every interval is the 95 % percentile bootstrap over texts. p counts the observed arrangement too, so it is never 0.
Holm's correction is applied over the twelve pairs of each reading.
"""

import numpy as np

from exercises import DOMAINS

DRAWS = 10_000


def removal(rng: np.random.Generator, damages: np.ndarray, domains: np.ndarray) -> dict:
    """Both readings from damages [favourites of a domain, texts] in nats a token and the texts' domains [texts]."""
    result = {name: {"damage": {}, "own": {}, "aimed": {}} for name in DOMAINS}
    for d, name in enumerate(DOMAINS):
        here = domains == d
        for e, other in enumerate(DOMAINS):
            there = domains == e
            result[name]["damage"][other] = interval(rng, damages[d, there])
            if e != d:
                result[name]["own"][other] = paired(rng, damages[d, here] - damages[e, here])
                result[name]["aimed"][other] = unpaired(rng, damages[d, here], damages[d, there])
    for reading in ("own", "aimed"):
        correct([pair for entry in result.values() for pair in entry[reading].values()])
    return result


def interval(rng: np.random.Generator, values: np.ndarray) -> dict:
    """A mean with its interval."""
    return summary(values.mean(), means(rng, values))


def paired(rng: np.random.Generator, differences: np.ndarray) -> dict:
    """A mean difference within texts, by sign flips."""
    signs = rng.integers(0, 2, (DRAWS, differences.size), dtype=np.int8) * 2 - 1
    null = signs @ differences / differences.size
    return summary(differences.mean(), means(rng, differences), null)


def unpaired(rng: np.random.Generator, own: np.ndarray, other: np.ndarray) -> dict:
    """A difference of the means of two sets of texts, by permutation of their labels."""
    pooled = np.concatenate([own, other])
    picked = np.argsort(rng.random((DRAWS, pooled.size)), 1)[:, :own.size]
    sums = pooled[picked].sum(1)
    null = sums / own.size - (pooled.sum() - sums) / other.size
    return summary(own.mean() - other.mean(), means(rng, own) - means(rng, other), null)


def means(rng: np.random.Generator, values: np.ndarray) -> np.ndarray:
    """Bootstrapped means [DRAWS]."""
    return values[rng.integers(0, values.size, (DRAWS, values.size))].mean(1)


def summary(estimate: float, bootstrapped: np.ndarray, null: np.ndarray | None = None) -> dict:
    """Estimate, interval and, with a null distribution, the one-sided p-value."""
    low, high = np.percentile(bootstrapped, [2.5, 97.5])
    entry = {"mean": round(float(estimate), 4), "low": round(float(low), 4), "high": round(float(high), 4)}
    return entry if null is None else entry | {"p": float((1 + (null >= estimate - 1e-12).sum()) / (1 + null.size))}


def correct(pairs: list[dict]):
    """Adds Holm's corrected p-value to every pair."""
    highest = 0.0
    for rank, pair in enumerate(sorted(pairs, key=lambda pair: pair["p"])):
        highest = max(highest, min(1.0, pair["p"] * (len(pairs) - rank)))
        pair["p_holm"] = round(highest, 6)
