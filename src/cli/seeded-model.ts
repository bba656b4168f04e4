/** A small qwen2_moe checkpoint with random weights from a seed: what the demo runs on where the trained one is missing. */
import { createHash } from "node:crypto";
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { type TensorToWrite, writeSafetensors } from "../checkpoint/safetensors-writer.js";
import { fromSystemError, MoescopeError } from "../errors.js";
import { userCacheFolder } from "../hub/user-cache.js";
import { packageRoot } from "../native/addon.js";

/** Part of the cache folder's name: another seed or shape is another model. */
const VERSION = "seeded-1";
const SEED = 20_240_607;

const CONFIG = {
  architectures: ["Qwen2MoeForCausalLM"],
  model_type: "qwen2_moe",
  vocab_size: 2560,
  hidden_size: 128,
  num_hidden_layers: 4,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  num_experts: 8,
  num_experts_per_tok: 2,
  moe_intermediate_size: 64,
  shared_expert_intermediate_size: 128,
  intermediate_size: 256,
  norm_topk_prob: false,
  decoder_sparse_step: 1,
  max_position_embeddings: 1024,
  rms_norm_eps: 1e-6,
  rope_theta: 10_000,
  tie_word_embeddings: false,
  eos_token_id: 2559,
  hidden_act: "silu",
};

const CHAT_TEMPLATE =
  "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}{% endfor %}" +
  "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}";

/**
 * The folder of the seeded model, made on first use beside the package, else in the user's cache.
 * @param demoFolder holds the tokenizer. @throws MoescopeError NOT_FOUND, NO_PERMISSION, DISK_FULL
 */
export function seededModelFolder(demoFolder: string): string {
  const tokenizer = join(demoFolder, "tokenizer.json");
  if (!existsSync(tokenizer)) {
    throw new MoescopeError("NOT_FOUND", `Expected the tokenizer of the demo model at ${tokenizer}, found none.`);
  }
  // Another tokenizer is another model.
  const name = `${VERSION}-${createHash("sha256").update(readFileSync(tokenizer)).digest("hex").slice(0, 8)}`;
  const places = [join(packageRoot(), ".cache", "demo"), userCacheFolder()];
  let fault: unknown;
  for (const place of places) {
    const folder = join(place, name);
    if (isComplete(folder)) return folder;
    try {
      makeSeededModel(folder, tokenizer);
      return folder;
    } catch (error) {
      if (isComplete(folder)) return folder; // another process was faster
      fault = error;
    }
  }
  throw fromSystemError(fault, `write the seeded demo model to ${places.join(" or ")}`);
}

function isComplete(folder: string): boolean {
  return existsSync(join(folder, "model.safetensors"));
}

/** Makes the model with a tokenizer.json; the folder appears whole or not at all. Throws where it is there already. */
export function makeSeededModel(folder: string, tokenizer: string): void {
  mkdirSync(dirname(folder), { recursive: true });
  const temporary = mkdtempSync(`${folder}-partial-`);
  try {
    writeFileSync(join(temporary, "config.json"), JSON.stringify(CONFIG, null, 2));
    const tokens = {
      eos_token: "<|im_end|>",
      pad_token: "<|endoftext|>",
      bos_token: null,
      chat_template: CHAT_TEMPLATE,
    };
    writeFileSync(join(temporary, "tokenizer_config.json"), JSON.stringify(tokens, null, 2));
    copyFileSync(tokenizer, join(temporary, "tokenizer.json"));
    writeSafetensors(join(temporary, "model.safetensors"), seededTensors());
    renameSync(temporary, folder);
  } finally {
    rmSync(temporary, { recursive: true, force: true });
  }
}

/** All weights: normal with deviation 1/sqrt(columns), norms 1, biases small. */
function seededTensors(): TensorToWrite[] {
  const random = normalNumbers(SEED);
  const filled = (name: string, shape: number[], deviation: number, mean = 0): TensorToWrite => {
    const size = shape.reduce((product, length) => product * length, 1);
    return { name, shape, values: Float32Array.from({ length: size }, () => mean + deviation * random()) };
  };
  const matrix = (name: string, rows: number, cols: number) => filled(name, [rows, cols], 1 / Math.sqrt(cols));
  const { hidden_size: hidden, vocab_size: vocab, moe_intermediate_size: inner } = CONFIG;
  const kvSize = (hidden / CONFIG.num_attention_heads) * CONFIG.num_key_value_heads;
  const ffn = (prefix: string, width: number) => [
    matrix(`${prefix}.gate_proj.weight`, width, hidden),
    matrix(`${prefix}.up_proj.weight`, width, hidden),
    matrix(`${prefix}.down_proj.weight`, hidden, width),
  ];
  const tensors = [
    filled("model.embed_tokens.weight", [vocab, hidden], 1),
    filled("model.norm.weight", [hidden], 0, 1),
    filled("lm_head.weight", [vocab, hidden], 0.1),
  ];
  for (let layer = 0; layer < CONFIG.num_hidden_layers; layer++) {
    const prefix = `model.layers.${layer}`;
    const attention = [
      ["q", hidden],
      ["k", kvSize],
      ["v", kvSize],
    ] as const;
    tensors.push(
      filled(`${prefix}.input_layernorm.weight`, [hidden], 0, 1),
      filled(`${prefix}.post_attention_layernorm.weight`, [hidden], 0, 1),
      ...attention.flatMap(([part, rows]) => [
        matrix(`${prefix}.self_attn.${part}_proj.weight`, rows, hidden),
        filled(`${prefix}.self_attn.${part}_proj.bias`, [rows], 0.1),
      ]),
      matrix(`${prefix}.self_attn.o_proj.weight`, hidden, hidden),
      matrix(`${prefix}.mlp.gate.weight`, CONFIG.num_experts, hidden),
      matrix(`${prefix}.mlp.shared_expert_gate.weight`, 1, hidden),
      ...ffn(`${prefix}.mlp.shared_expert`, CONFIG.shared_expert_intermediate_size),
    );
    for (let expert = 0; expert < CONFIG.num_experts; expert++)
      tensors.push(...ffn(`${prefix}.mlp.experts.${expert}`, inner));
  }
  return tensors;
}

/** Standard normal numbers: the sum of four uniform ones of mulberry32, scaled; near enough for weights that mean nothing. */
function normalNumbers(seed: number): () => number {
  let state = seed;
  const uniform = () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
  return () => (uniform() + uniform() + uniform() + uniform() - 2) * Math.sqrt(3);
}
