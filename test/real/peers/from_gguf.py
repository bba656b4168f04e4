"""Prints what transformers makes of a GGUF file and a text: {ids, logprobs}, the rows in order. The config is that of the folder
CONFIG: transformers 5.24 reads no expert sizes from a qwen2moe file."""

import json
import os
import sys

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

path, text, config = sys.argv[1:]
where = {"pretrained_model_name_or_path": os.path.dirname(path), "gguf_file": os.path.basename(path)}
torch.set_num_threads(1)
model = AutoModelForCausalLM.from_pretrained(**where, dtype=torch.float32, config=AutoConfig.from_pretrained(config))
ids = AutoTokenizer.from_pretrained(**where)(text, add_special_tokens=False).input_ids
with torch.no_grad():
    logprobs = model(torch.tensor([ids])).logits[0].log_softmax(-1)
print(json.dumps({"ids": ids, "logprobs": logprobs.tolist()}))
