"""Rewrites a dense Qwen2 checkpoint as a qwen2_moe one: its neurons in clusters, a fitted router, fewer experts chosen than there are.

    python convert.py MODEL.gguf TEXTS.jsonl OUT [--experts 16] [--top-k 8] [--shared 1280]

MODEL: a GGUF file, or a folder in the format of transformers. TEXTS: lines {"text": ...}, which must not be the items that are measured
later. OUT: config.json, model.safetensors (bfloat16), the tokenizer's files, conversion.json (what was lost in each layer).
"""

import argparse
import json
import resource
import time
from pathlib import Path

import torch
from safetensors.torch import save_file
from tokenizers.normalizers import NFC
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

from experts import FeedForward, Shape, fit_router, split_neurons


def main() -> None:
    options = arguments()
    started = time.monotonic()
    torch.manual_seed(options.seed)
    torch.set_grad_enabled(False)
    source = {"gguf_file": options.model.name} if options.model.is_file() else {}
    # Weights as bfloat16, in place of GGUF's blocks.
    unpacked = {"quantization_config": GgufConfig(dequantize=True)} if source else {}
    folder = options.model.parent if options.model.is_file() else options.model
    tokenizer = AutoTokenizer.from_pretrained(folder, **source)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16, **source, **unpacked).eval()
    if model.config.model_type != "qwen2":
        raise SystemExit(f"Expected a qwen2 model, got {model.config.model_type}.")
    shape = shape_of(options, model.config.intermediate_size)
    inputs = collect_inputs(model, tokenizer, options.texts, options.max_tokens)
    print(f"{len(inputs[0])} tokens, {time.monotonic() - started:.0f} s", flush=True)
    tensors, report = convert(model, inputs, shape, options.seed)
    options.out.mkdir(parents=True, exist_ok=True)
    save_file(tensors, options.out / "model.safetensors", metadata={"format": "pt"})
    (options.out / "config.json").write_text(json.dumps(config_of(model.config, shape), indent=2))
    model.generation_config.save_pretrained(options.out)
    # Qwen2's normaliser, which a GGUF file does not name.
    tokenizer.backend_tokenizer.normalizer = NFC()
    tokenizer.save_pretrained(options.out)
    seconds = round(time.monotonic() - started)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    summary = {"tokens": len(inputs[0]), "seconds": seconds, "peak_mib": peak, "layers": report}
    (options.out / "conversion.json").write_text(json.dumps(summary, indent=1))
    print(f"{options.out}: {shape.top_k} of {shape.num_experts} experts, {seconds} s, {peak} MiB at most")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("texts", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--experts", type=int, default=16)
    parser.add_argument("--top-k", type=int, default=8)
    parser.add_argument("--shared", type=int, default=1280, help="neurons of the shared expert")
    parser.add_argument("--max-tokens", type=int, default=8192, help="tokens to fit on")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def shape_of(options: argparse.Namespace, width: int) -> Shape:
    rest = width - options.shared
    if not (0 < options.top_k < options.experts and options.shared > 0 and rest > 0 and rest % options.experts == 0):
        raise SystemExit(f"Expected top-k below experts, and experts that divide {width} less shared, got {vars(options)}.")
    return Shape(options.experts, options.top_k, options.shared, rest // options.experts)


def collect_inputs(model: torch.nn.Module, tokenizer, texts: Path, max_tokens: int) -> list[Tensor]:
    """What every feed-forward block reads: one [T, d] for each layer, a random choice of the texts' tokens."""
    found: list[list[Tensor]] = [[] for _ in model.model.layers]
    hooks = [
        layer.mlp.register_forward_pre_hook(lambda _, args, kept=kept: kept.append(args[0][0].clone()))
        for layer, kept in zip(model.model.layers, found, strict=True)
    ]
    total = 0
    for line in texts.read_text(encoding="utf-8").splitlines():
        ids = tokenizer(json.loads(line)["text"], return_tensors="pt").input_ids[:, :512]
        # The head is not needed: the body alone runs.
        model.model(ids)
        total += ids.shape[1]
        if total >= max_tokens:
            break
    for hook in hooks:
        hook.remove()
    order = torch.randperm(total)[:max_tokens]
    return [torch.cat(kept)[order] for kept in found]


def convert(model: torch.nn.Module, inputs: list[Tensor], shape: Shape, seed: int) -> tuple[dict[str, Tensor], list[dict]]:
    tensors = {
        name: value.to(torch.bfloat16).contiguous()
        for name, value in model.state_dict().items()
        if ".mlp." not in name and not (name == "lm_head.weight" and model.config.tie_word_embeddings)
    }
    report = []
    for index, layer in enumerate(model.model.layers):
        parts = (layer.mlp.gate_proj, layer.mlp.up_proj, layer.mlp.down_proj)
        block = FeedForward(*(part.weight.float() for part in parts))
        read = inputs[index].float()
        shared, groups = split_neurons(block, read[:4096], shape, seed + index)
        with torch.enable_grad():
            fit = fit_router(block, read, groups, shape, seed + index)
        to = f"model.layers.{index}.mlp"
        tensors[f"{to}.gate.weight"] = fit.router.to(torch.bfloat16)
        # A gate of sigmoid(0) = 1/2 and twice the output.
        tensors[f"{to}.shared_expert_gate.weight"] = torch.zeros(1, model.config.hidden_size, dtype=torch.bfloat16)
        tensors.update(expert(f"{to}.shared_expert", block, shared, 2))
        for number, group in enumerate(groups):
            # The gates sum to 1 over k experts, where the dense block adds every one with weight 1.
            tensors.update(expert(f"{to}.experts.{number}", block, group, shape.top_k))
        lost = {"lost": fit.lost, "best": fit.lost_at_best, "random": fit.lost_at_random}
        report.append({"layer": index, **{name: round(value, 4) for name, value in lost.items()}})
        print(json.dumps(report[-1]), flush=True)
    return tensors, report


def expert(name: str, block: FeedForward, neurons: Tensor, factor: float) -> dict[str, Tensor]:
    return {
        f"{name}.gate_proj.weight": block.gate[neurons].to(torch.bfloat16).contiguous(),
        f"{name}.up_proj.weight": block.up[neurons].to(torch.bfloat16).contiguous(),
        f"{name}.down_proj.weight": (factor * block.down[:, neurons]).to(torch.bfloat16).contiguous(),
    }


def config_of(dense, shape: Shape) -> dict:
    kept = (
        "hidden_size intermediate_size num_hidden_layers num_attention_heads num_key_value_heads vocab_size rms_norm_eps "
        "max_position_embeddings hidden_act tie_word_embeddings bos_token_id eos_token_id"
    ).split()
    rope = dense.rope_parameters or {}
    return {
        "architectures": ["Qwen2MoeForCausalLM"],
        "model_type": "qwen2_moe",
        **{name: getattr(dense, name) for name in kept},
        "rope_theta": rope.get("rope_theta", getattr(dense, "rope_theta", None)),
        "use_sliding_window": False,
        "num_experts": shape.num_experts,
        "num_experts_per_tok": shape.top_k,
        "moe_intermediate_size": shape.expert_width,
        "shared_expert_intermediate_size": shape.shared_width,
        "norm_topk_prob": True,
        "decoder_sparse_step": 1,
        "mlp_only_layers": [],
        "torch_dtype": "bfloat16",
    }


if __name__ == "__main__":
    main()
