"""Muon for the matrices inside the layers, AdamW for everything else.

Muon replaces the momentum of a matrix by the nearest orthogonal matrix (five Newton-Schulz steps); on rare
facts it learns in fewer tokens than AdamW. Stacks of matrices are handled as batches.
"""

import torch
from torch import Tensor, nn


def orthogonal(matrices: Tensor, steps: int = 5) -> Tensor:
    """The orthogonal factor of a batch of matrices [n, rows, columns], approximately, in bfloat16."""
    a, b, c = 3.4445, -4.7750, 2.0315
    x = matrices.bfloat16()
    tall = x.shape[-2] > x.shape[-1]
    if tall:
        x = x.mT
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(steps):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.mT if tall else x


class Muon(torch.optim.Optimizer):
    """Momentum, orthogonalised matrix by matrix, with decoupled weight decay."""

    def __init__(self, parameters, lr: float, momentum: float = 0.95, weight_decay: float = 0.01):
        super().__init__(parameters, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            by_shape: dict[tuple, list] = {}
            for parameter in group["params"]:
                momentum = self.state[parameter].setdefault("momentum", torch.zeros_like(parameter))
                momentum.lerp_(parameter.grad, 1 - group["momentum"])
                update = parameter.grad.lerp(momentum, group["momentum"])
                by_shape.setdefault(tuple(parameter.shape[-2:]), []).append((parameter, update))
            for (rows, columns), members in by_shape.items():
                stacked = torch.cat([update.reshape(-1, rows, columns) for _, update in members])
                scale = max(1.0, rows / columns) ** 0.5
                pieces = orthogonal(stacked).split([update.numel() // (rows * columns) for _, update in members])
                for (parameter, _), piece in zip(members, pieces):
                    parameter.mul_(1 - group["lr"] * group["weight_decay"])
                    parameter.add_(piece.view(parameter.shape).float(), alpha=-group["lr"] * scale)


def make_optimizers(model: nn.Module, muon_lr: float, adam_lr: float) -> list[torch.optim.Optimizer]:
    """Both optimizers, with the constant rate of every group kept in `base_lr`.

    Router, embedding and head learn by AdamW, as their rows are classes and not features; the router slowly,
    so that it does not settle before the experts differ.
    """
    hidden, router, others = [], [], []
    for name, parameter in model.named_parameters():
        if "mlp.gate." in name or "expert_gate" in name:
            router.append(parameter)
        else:
            (hidden if name.startswith("layers.") and parameter.dim() > 1 else others).append(parameter)
    adam = torch.optim.AdamW([{"params": others, "lr": adam_lr}, {"params": router, "lr": 0.25 * adam_lr}],
                             betas=(0.9, 0.95), weight_decay=0.0, fused=True)
    optimizers = [Muon(hidden, lr=muon_lr), adam]
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["base_lr"] = group["lr"]
    return optimizers
