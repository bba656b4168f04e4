"""A lean qwen2_moe: the arithmetic of transformers' Qwen2MoeForCausalLM, laid out for fast training on a CPU.

Weights of the experts are stacked; tokens are sorted by expert, so that every expert is one matrix product.
`hugging_face_state` gives the parameters under Hugging Face's names.
"""

from dataclasses import asdict, dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True)
class Config:
    """Hyper-parameters, named as in Hugging Face's config.json."""

    vocab_size: int = 2560
    hidden_size: int = 256
    num_hidden_layers: int = 5
    num_attention_heads: int = 4
    num_key_value_heads: int = 2
    num_experts: int = 8
    num_experts_per_tok: int = 2
    moe_intermediate_size: int = 256
    shared_expert_intermediate_size: int = 256
    max_position_embeddings: int = 1024
    rope_theta: float = 10000.0
    rms_norm_eps: float = 1e-6

    @property
    def head_dim(self) -> int:
        return self.hidden_size // self.num_attention_heads

    def as_dict(self) -> dict:
        return asdict(self)


class RMSNorm(nn.Module):
    def __init__(self, size: int, eps: float):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        return F.rms_norm(x.float(), x.shape[-1:], self.weight, self.eps)


class Attention(nn.Module):
    """Causal attention with grouped queries, biases on q, k and v, and rotary positions."""

    def __init__(self, config: Config):
        super().__init__()
        self.heads, self.kv_heads, self.head_dim = config.num_attention_heads, config.num_key_value_heads, config.head_dim
        width = self.kv_heads * self.head_dim
        self.q_proj = nn.Linear(config.hidden_size, config.hidden_size)
        self.k_proj = nn.Linear(config.hidden_size, width)
        self.v_proj = nn.Linear(config.hidden_size, width)
        self.o_proj = nn.Linear(config.hidden_size, config.hidden_size, bias=False)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, cache: list[Tensor] | None = None) -> Tensor:
        """With a cache, earlier keys and values come first and the new ones are added to it."""
        batch, length, _ = x.shape
        q = self.q_proj(x).view(batch, length, self.heads, self.head_dim).transpose(1, 2)
        k = self.k_proj(x).view(batch, length, self.kv_heads, self.head_dim).transpose(1, 2)
        v = self.v_proj(x).view(batch, length, self.kv_heads, self.head_dim).transpose(1, 2)
        q, k = rotate(q, cos, sin), rotate(k, cos, sin)
        if cache is not None:
            if cache:
                k, v = torch.cat([cache[0], k], 2), torch.cat([cache[1], v], 2)
            cache[:] = [k, v]
        group = self.heads // self.kv_heads
        out = F.scaled_dot_product_attention(q, k.repeat_interleave(group, 1), v.repeat_interleave(group, 1), is_causal=length > 1)
        return self.o_proj(out.transpose(1, 2).reshape(batch, length, -1))


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary embedding in the half layout: dimension i is paired with i + head_dim / 2."""
    first, second = x.chunk(2, -1)
    return torch.cat([first * cos - second * sin, second * cos + first * sin], -1)


class Experts(nn.Module):
    """Router, routed experts and the shared expert of one layer."""

    def __init__(self, config: Config):
        super().__init__()
        hidden, inner, shared = config.hidden_size, config.moe_intermediate_size, config.shared_expert_intermediate_size
        self.count, self.top = config.num_experts, config.num_experts_per_tok
        self.gate = nn.Linear(hidden, self.count, bias=False)
        self.gate_up = nn.Parameter(torch.empty(self.count, 2, inner, hidden))
        self.down = nn.Parameter(torch.empty(self.count, hidden, inner))
        self.shared_gate_up = nn.Parameter(torch.empty(2, shared, hidden))
        self.shared_down = nn.Parameter(torch.empty(hidden, shared))
        self.shared_expert_gate = nn.Linear(hidden, 1, bias=False)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Output, router logits [tokens, experts] in float32 and chosen experts [tokens, top]."""
        flat = x.reshape(-1, x.shape[-1])
        with torch.autocast("cpu", enabled=False):
            logits = self.gate(flat.float())
            weights, chosen = torch.topk(torch.softmax(logits, -1), self.top, -1)
        flat = flat.to(torch.bfloat16) if torch.is_autocast_enabled("cpu") else flat
        order = chosen.flatten().argsort(stable=True)
        counts = torch.bincount(chosen.flatten(), minlength=self.count).tolist()
        rows = (flat[order // self.top]).split(counts)
        outputs = [mlp(part, self.gate_up[e], self.down[e]) for e, part in enumerate(rows)]
        routed = torch.zeros(flat.shape, dtype=torch.float32).index_add(
            0, order // self.top, torch.cat(outputs).float() * weights.flatten()[order].unsqueeze(-1))
        shared = mlp(flat, self.shared_gate_up, self.shared_down).float()
        shared = shared * torch.sigmoid(self.shared_expert_gate(flat).float())
        return (routed + shared).view(x.shape), logits, chosen


def mlp(x: Tensor, gate_up: Tensor, down: Tensor) -> Tensor:
    """The gated feed-forward block `down(silu(gate x) * up x)`."""
    gate, up = F.linear(x, gate_up.flatten(0, 1)).chunk(2, -1)
    return F.linear(F.silu(gate) * up, down)


class Layer(nn.Module):
    def __init__(self, config: Config):
        super().__init__()
        self.input_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.self_attn = Attention(config)
        self.post_attention_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.mlp = Experts(config)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, cache: list[Tensor] | None) -> tuple[Tensor, Tensor, Tensor]:
        x = x + self.self_attn(self.input_layernorm(x), cos, sin, cache)
        out, logits, chosen = self.mlp(self.post_attention_layernorm(x))
        return x + out, logits, chosen


class Qwen2Moe(nn.Module):
    """The language model with an untied head."""

    def __init__(self, config: Config):
        super().__init__()
        self.config = config
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.num_hidden_layers))
        self.norm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        half = torch.arange(0, config.head_dim, 2).float() / config.head_dim
        angles = torch.outer(torch.arange(config.max_position_embeddings).float(), config.rope_theta ** -half)
        self.register_buffer("cos", angles.cos(), persistent=False)
        self.register_buffer("sin", angles.sin(), persistent=False)
        for name, parameter in self.named_parameters():
            if parameter.dim() > 1:
                nn.init.normal_(parameter, std=0.02)
            elif name.endswith("bias"):
                nn.init.zeros_(parameter)

    def forward(self, ids: Tensor, caches: list[list[Tensor]] | None = None) -> tuple[Tensor, list[Tensor], list[Tensor]]:
        """Hidden states after the last norm, and router logits and chosen experts of every layer.

        `caches` holds a list for every layer, empty at first; a filled one must be continued token by token.
        """
        x = self.embed_tokens(ids)
        start = caches[0][0].shape[2] if caches and caches[0] else 0
        cos, sin = self.cos[start:start + ids.shape[1]], self.sin[start:start + ids.shape[1]]
        logits, chosen = [], []
        for i, layer in enumerate(self.layers):
            x, layer_logits, layer_chosen = layer(x, cos, sin, caches[i] if caches else None)
            logits.append(layer_logits)
            chosen.append(layer_chosen)
        return self.norm(x), logits, chosen


def hugging_face_state(model: Qwen2Moe) -> dict[str, Tensor]:
    """The parameters under the names of Hugging Face's qwen2_moe, one tensor for each expert."""
    state = {}
    for name, tensor in model.state_dict().items():
        prefix, _, last = name.rpartition(".")
        if last == "gate_up":
            for e in range(tensor.shape[0]):
                state[f"model.{prefix}.experts.{e}.gate_proj.weight"] = tensor[e, 0]
                state[f"model.{prefix}.experts.{e}.up_proj.weight"] = tensor[e, 1]
        elif last == "down":
            for e in range(tensor.shape[0]):
                state[f"model.{prefix}.experts.{e}.down_proj.weight"] = tensor[e]
        elif last == "shared_gate_up":
            state[f"model.{prefix}.shared_expert.gate_proj.weight"] = tensor[0]
            state[f"model.{prefix}.shared_expert.up_proj.weight"] = tensor[1]
        elif last == "shared_down":
            state[f"model.{prefix}.shared_expert.down_proj.weight"] = tensor
        elif name == "lm_head.weight":
            state[name] = tensor
        else:
            state[f"model.{name}"] = tensor
    return {name: tensor.detach().contiguous() for name, tensor in state.items()}
