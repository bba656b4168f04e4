"""From the neurons of one dense feed-forward block to experts: which neurons belong together, and a router that chooses them."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass
class Shape:
    num_experts: int
    top_k: int
    shared_width: int
    expert_width: int


@dataclass
class FeedForward:
    """Weights of a gated block: down(silu(gate x) * up x), float32."""

    gate: Tensor  # [F, d]
    up: Tensor  # [F, d]
    down: Tensor  # [d, F]

    def activations(self, inputs: Tensor) -> Tensor:  # [T, d] -> [T, F]
        return torch.nn.functional.silu(inputs @ self.gate.T) * (inputs @ self.up.T)


@dataclass
class Fit:
    router: Tensor  # [E, d]
    # Share of the routed part's squared output that is lost: with the router as fitted, with the best k experts of each token (gates 1/k
    # both times the number of experts chosen), with k drawn blindly.
    lost: float
    lost_at_best: float
    lost_at_random: float


def split_neurons(block: FeedForward, inputs: Tensor, shape: Shape, seed: int) -> tuple[Tensor, Tensor]:
    """Neurons of the shared expert [shared_width] and of the routed ones [E, expert_width].

    Shared: those whose output is largest on average, whatever the token. The others are clustered by the tokens on which they speak, so
    that an expert's neurons are wanted together (MoEfication, arXiv 2110.01786, clusters by weights; activations say what is used).
    """
    size = block.activations(inputs).abs() * block.down.norm(dim=0)  # [T, F]: what each neuron adds, as a norm
    by_size = size.mean(dim=0).argsort(descending=True)
    shared, rest = by_size[: shape.shared_width], by_size[shape.shared_width :]
    patterns = size[:, rest].T  # [R, T]
    patterns = patterns - patterns.mean(dim=1, keepdim=True)
    patterns = patterns / patterns.norm(dim=1, keepdim=True).clamp_min(1e-12)
    labels = balanced_clusters(patterns, shape.num_experts, seed)
    return shared.sort().values, torch.stack([rest[labels == e].sort().values for e in range(shape.num_experts)])


def balanced_clusters(points: Tensor, count: int, seed: int, rounds: int = 12) -> Tensor:
    """Spherical k-means with clusters of equal size: [N, D] unit rows -> [N] labels.

    Each round, points choose in order of what they would lose by not getting their first choice; a full cluster is passed over.
    """
    generator = torch.Generator().manual_seed(seed)
    centres = points[torch.randperm(len(points), generator=generator)[:count]]
    labels = torch.zeros(len(points), dtype=torch.long)
    for _ in range(rounds):
        likeness = points @ centres.T
        best = likeness.topk(2, dim=1).values
        choices = likeness.argsort(dim=1, descending=True).tolist()
        room = [len(points) // count] * count
        for point in (best[:, 0] - best[:, 1]).argsort(descending=True).tolist():
            label = next(c for c in choices[point] if room[c] > 0)
            room[label] -= 1
            labels[point] = label
        centres = torch.stack([points[labels == c].mean(dim=0) for c in range(count)])
        centres = centres / centres.norm(dim=1, keepdim=True).clamp_min(1e-12)
    return labels


def fit_router(block: FeedForward, inputs: Tensor, groups: Tensor, shape: Shape, seed: int, steps: int = 600) -> Fit:
    """A router [E, d] without bias, whose top k, with gates that sum to 1 and outputs times k, come nearest to the whole routed part.

    With f_e an expert's output and w_e its weight (0 where it is not chosen) the error is |sum (1 - w_e) f_e|^2 = (1 - w)^T G (1 - w),
    G_ab = f_a . f_b: one small matrix for each token, so fitting needs no pass over the weights.
    """
    with torch.no_grad():
        activations = block.activations(inputs)
        outputs = torch.stack([activations[:, group] @ block.down[:, group].T for group in groups], dim=1)  # [T, E, d]
        gram = outputs @ outputs.transpose(1, 2)  # [T, E, E]
    size = gram.diagonal(dim1=1, dim2=2).clamp_min(1e-20).sqrt()  # [T, E]
    held = len(inputs) // 5  # the last fifth is not fitted on
    router = torch.nn.Parameter(_least_squares(inputs[held:], size[held:].log()))
    optimiser = torch.optim.Adam([router], lr=2e-3 * router.detach().std().item() * 10)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    generator = torch.Generator().manual_seed(seed)
    whole = gram.sum(dim=(1, 2))
    for _ in range(steps):
        batch = held + torch.randint(len(inputs) - held, (1024,), generator=generator)
        error = _error(gram[batch], _weights(inputs[batch] @ router.T, shape.top_k))
        loss = error.sum() / whole[batch].sum()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    with torch.no_grad():
        total = whole[:held].sum()
        flat = {
            "best": size[:held].topk(shape.top_k).indices,
            "random": torch.rand(size[:held].shape, generator=generator).topk(shape.top_k).indices,
        }
        even = {k: torch.zeros_like(size[:held]).scatter(1, chosen, 1.0) for k, chosen in flat.items()}
        lost = (_error(gram[:held], _weights(inputs[:held] @ router.T, shape.top_k)).sum() / total).item()
        rest = {k: (_error(gram[:held], w).sum() / total).item() for k, w in even.items()}
    return Fit(router.detach(), lost, rest["best"], rest["random"])


def _least_squares(inputs: Tensor, targets: Tensor) -> Tensor:
    """Ridge regression without intercept: [T, d], [T, E] -> [E, d]."""
    targets = targets - targets.mean()
    covariance = inputs.T @ inputs
    ridge = 1e-2 * covariance.diagonal().mean() * torch.eye(len(covariance))
    return torch.linalg.solve(covariance + ridge, inputs.T @ targets).T.contiguous()


def _weights(logits: Tensor, top_k: int) -> Tensor:
    """[T, E] logits -> [T, E] what each output is multiplied by: k times the gate of a chosen expert, else 0."""
    chosen = logits.topk(top_k)
    return torch.zeros_like(logits).scatter(1, chosen.indices, top_k * chosen.values.softmax(dim=1))


def _error(gram: Tensor, weights: Tensor) -> Tensor:
    missing = 1 - weights
    return torch.einsum("te,tef,tf->t", missing, gram, missing)
