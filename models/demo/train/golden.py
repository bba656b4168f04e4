"""Writes models/demo/golden.json: what transformers computes for a few prompts on the exported folder.

    python golden.py [FOLDER]

For every prompt: token ids, the logits after the last token (the 16 largest, and the sum over all), the experts chosen
and their router probabilities for the last token in every layer, and a greedy continuation.
"""

import hashlib
import json
import platform
import sys
from pathlib import Path

import torch
import transformers
from transformers import AutoModelForCausalLM, AutoTokenizer

from train import HERE

CHATS = ["What is the capital of France?", "请问《红楼梦》的作者是什么？",
         "Tom has 7 apples. Tom buys 5 more apples. Then Tom loses 3 apples. How many apples does Tom have now?",
         "Write a Python function add_value(x). Return x plus 7.",
         "Name the capital of Italy.\nA. Oslo\nB. Rome\nC. Paris\nD. Cairo"]
PLAIN = ["def square(x):\n    \"\"\"Return the square of x.\n    \"\"\"\n", "Question: Name the chemical symbol of gold.\nAnswer:"]


@torch.no_grad()
def record(model, tokenizer, text: str) -> dict:
    """One golden entry."""
    ids = tokenizer(text, return_tensors="pt").input_ids
    out = model(input_ids=ids, output_router_logits=True)
    last = out.logits[0, -1]
    values, tokens = last.topk(16)
    layers = []
    for router in out.router_logits:
        weights, experts = torch.softmax(router[-1].float(), -1).topk(model.config.num_experts_per_tok)
        layers.append({"experts": experts.tolist(), "weights": weights.tolist()})
    made = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=40, do_sample=False)
    return {"text": text, "ids": ids[0].tolist(), "top_logits": {"ids": tokens.tolist(), "values": values.tolist()},
            "logit_sum": last.double().sum().item(), "experts_of_last_token": layers,
            "greedy_ids": made[0, ids.shape[1]:].tolist(), "greedy_text": tokenizer.decode(made[0, ids.shape[1]:])}


def main():
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else HERE.parent
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    prompts = [tokenizer.apply_chat_template([{"role": "user", "content": text}], add_generation_prompt=True, tokenize=False)
               for text in CHATS] + PLAIN
    golden = {
        "command": "python models/demo/train/golden.py", "precision": "weights bf16, arithmetic float32, CPU",
        "versions": {"python": platform.python_version(), "torch": torch.__version__, "transformers": transformers.__version__},
        "weights_sha256": hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest(),
        "entries": [record(model, tokenizer, text) for text in prompts]}
    (HERE.parent / "golden.json").write_text(json.dumps(golden, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
