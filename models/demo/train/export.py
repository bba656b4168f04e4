"""Writes a checkpoint as a plain Hugging Face folder: configuration, tokenizer, chat template, bf16 weights.

    python export.py [CHECKPOINT] [FOLDER]

Without arguments: the decayed weights of the run, if there are any, to models/demo.
"""

import hashlib
import json
import platform
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file

from build_tokenizer import SPECIALS
from documents import SYSTEM
from model import Config, Qwen2Moe, hugging_face_state
from train import HERE, RUN

TEMPLATE = (
    "{% for message in messages %}"
    "{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>system\n" + SYSTEM + "<|im_end|>\n' }}{% endif %}"
    "{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}")


def model_config(config: Config, ids: dict[str, int]) -> dict:
    """config.json in the words of Hugging Face's qwen2_moe."""
    return {
        "architectures": ["Qwen2MoeForCausalLM"], "model_type": "qwen2_moe", **config.as_dict(),
        "head_dim": config.head_dim, "intermediate_size": 1024, "hidden_act": "silu", "norm_topk_prob": False,
        "decoder_sparse_step": 1, "mlp_only_layers": [], "qkv_bias": True, "use_sliding_window": False,
        "sliding_window": None, "max_window_layers": config.num_hidden_layers, "tie_word_embeddings": False,
        "attention_dropout": 0.0, "initializer_range": 0.02, "output_router_logits": False,
        "router_aux_loss_coef": 0.01, "use_cache": True, "torch_dtype": "bfloat16",
        "bos_token_id": ids["<|endoftext|>"], "eos_token_id": ids["<|im_end|>"]}


def tokenizer_config(ids: dict[str, int], context: int) -> dict:
    """tokenizer_config.json with Qwen2's special tokens and chat template."""
    added = {str(ids[token]): {"content": token, "lstrip": False, "normalized": False, "rstrip": False,
                               "single_word": False, "special": True} for token in SPECIALS}
    return {"tokenizer_class": "Qwen2Tokenizer", "add_prefix_space": False, "added_tokens_decoder": added,
            "additional_special_tokens": ["<|im_start|>", "<|im_end|>"], "bos_token": None, "unk_token": None,
            "eos_token": "<|im_end|>", "pad_token": "<|endoftext|>", "errors": "replace",
            "clean_up_tokenization_spaces": False, "split_special_tokens": False,
            "model_max_length": context, "chat_template": TEMPLATE}


def load(path: Path) -> tuple[Qwen2Moe, dict]:
    """The model of a checkpoint and the checkpoint itself."""
    state = torch.load(path, weights_only=True)
    model = Qwen2Moe(Config(**state["config"]))
    model.load_state_dict(state["model"])
    return model.eval(), state


def latest() -> Path:
    """The newer one of the constant and the decayed checkpoint."""
    found = [path for path in (RUN / "checkpoint.pt", RUN / "decayed.pt") if path.exists()]
    return max(found, key=lambda path: path.stat().st_mtime)


def digest(path: Path) -> str:
    """SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def run_record(state: dict, folder: Path, every: int = 5) -> dict:
    """What made the weights: versions, hashes of sources and results, and every fifth line of the run's log."""
    lines = {}
    constant = state["decay_from"] if state["decay_tokens"] else state["step"]
    for name, last in (("log.jsonl", constant), ("decay.jsonl", state["step"])):
        if name == "log.jsonl" or state["decay_tokens"]:
            entries = map(json.loads, (RUN / name).read_text().splitlines())
            lines |= {entry["step"]: entry for entry in entries if entry["step"] <= last}
    steps = sorted(lines)
    return {"tokens": state["tokens"], "steps": state["step"], "seed": state["seed"],
            "decay_from": state["decay_from"], "decay_tokens": state["decay_tokens"],
            "versions": {"python": platform.python_version(), "torch": torch.__version__},
            "sha256": {name: digest(folder / name) for name in ("model.safetensors", "tokenizer.json")}
            | {path.name: digest(path) for path in sorted(HERE.glob("*.py"))},
            "log": [lines[step] for step in steps[::-every][::-1]]}


def main():
    source = Path(sys.argv[1]) if len(sys.argv) > 1 else latest()
    folder = Path(sys.argv[2]) if len(sys.argv) > 2 else HERE.parent
    folder.mkdir(parents=True, exist_ok=True)
    model, state = load(source)
    tokenizer = json.loads((HERE.parent / "tokenizer.json").read_text())
    ids = {token["content"]: token["id"] for token in tokenizer["added_tokens"]}
    stops = [ids["<|im_end|>"], ids["<|endoftext|>"]]
    generation = {"bos_token_id": ids["<|endoftext|>"], "pad_token_id": ids["<|endoftext|>"], "eos_token_id": stops, "do_sample": False}
    for name, content in {"config.json": model_config(model.config, ids), "generation_config.json": generation,
                          "tokenizer_config.json": tokenizer_config(ids, model.config.max_position_embeddings)}.items():
        (folder / name).write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n")
    if folder != HERE.parent:
        (folder / "tokenizer.json").write_text((HERE.parent / "tokenizer.json").read_text())
    tensors = {name: tensor.to(torch.bfloat16) for name, tensor in hugging_face_state(model).items()}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "model.safetensors").chmod(0o644)
    (folder / "run.json").write_text(json.dumps(run_record(state, folder)) + "\n")
    print(f"{folder}: {state['tokens']:,} tokens trained, {sum(t.numel() for t in tensors.values()):,} parameters")


if __name__ == "__main__":
    main()
