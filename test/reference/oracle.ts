/**
 * An independent float64 forward pass of the four architectures, written to be read next to the papers: LLaMA (Touvron et al. 2023),
 * Mixtral (Jiang et al. 2024), Qwen2 and Qwen2-MoE (Yang et al. 2024). It shares no code with the core and knows nothing of speed.
 */

import { type Matrix, type ReferenceCheckpoint, readCheckpoint } from "./checkpoint.js";
import { ropeOf, rotate } from "./rope.js";
import { type Change, type Selection, select, type TokenPlace } from "./router.js";

/** What the router of one MoE layer did; one entry per token. */
export interface ReferenceLayer {
  layer: number;
  routerLogits: Float64Array[]; // [tokens][numExperts], raw
  selections: Selection[]; // [tokens]
  sharedGate: number[]; // [tokens] after the sigmoid; empty without a shared expert
}

export interface ReferenceOutput {
  logits: Float64Array[]; // [tokens][vocabSize]
  layers: ReferenceLayer[]; // one per MoE layer
  hidden: Float64Array[][]; // [numLayers][tokens][hiddenSize], the residual stream after each layer
}

export interface ForwardOptions {
  /** Declared changes to routing. */
  changes?: Change[];
  /** Origin and segment of each token; by default all are of the prompt, in the segment "question". */
  places?: Omit<TokenPlace, "position">[];
  /** Told of every expert that runs: its gate and its output before the gate; "shared" with its own gate. */
  onExpert?: (layer: number, position: number, expert: number | "shared", gate: number, output: Float64Array) => void;
  /** Replaces a row of the residual stream before or after a layer. */
  editResidual?: (
    at: "residual.before" | "residual.after",
    layer: number,
    position: number,
    row: Float64Array,
  ) => Float64Array;
}

/** Loads a checkpoint folder and returns its forward pass over one sequence from position 0. */
export function loadOracle(folder: string): (ids: ArrayLike<number>, options?: ForwardOptions) => ReferenceOutput {
  const checkpoint = readCheckpoint(folder);
  return (ids, options = {}) => forward(checkpoint, ids, options);
}

function forward(checkpoint: ReferenceCheckpoint, ids: ArrayLike<number>, options: ForwardOptions): ReferenceOutput {
  const { config, tensors } = checkpoint;
  const weight = (name: string) => tensors.get(`${name}.weight`) ?? fail(`no tensor ${name}.weight`);
  const norm = (name: string) => (x: Float64Array) => rmsNorm(x, weight(name).values, config.rms_norm_eps);
  const embedding = weight("model.embed_tokens");
  const x: Float64Array[] = Array.from(ids, (id) =>
    Float64Array.from(embedding.values.subarray(id * embedding.cols).subarray(0, embedding.cols)),
  );
  const output: ReferenceOutput = { logits: [], layers: [], hidden: [] };

  for (let layer = 0; layer < config.num_hidden_layers; layer++) {
    const prefix = `model.layers.${layer}`;
    const edit = (at: "residual.before" | "residual.after") =>
      x.forEach((row, t) => {
        x[t] = options.editResidual?.(at, layer, t, row) ?? row;
      });
    edit("residual.before");
    const normed = x.map(norm(`${prefix}.input_layernorm`));
    attention(checkpoint, `${prefix}.self_attn`, normed).forEach((out, t) => {
      addTo(x[t]!, out);
    });
    const h = x.map(norm(`${prefix}.post_attention_layernorm`));
    const outs = isMoeLayer(checkpoint, layer)
      ? mixture(checkpoint, layer, h, options, output)
      : h.map((row) => feedForward(checkpoint, `${prefix}.mlp`, row));
    outs.forEach((out, t) => {
      addTo(x[t]!, out);
    });
    edit("residual.after");
    output.hidden.push(x.map((row) => Float64Array.from(row)));
  }

  const head = config.tie_word_embeddings ? embedding : weight("lm_head");
  output.logits = x.map(norm("model.norm")).map((row) => multiply(head, row));
  return output;
}

/** Causal attention with grouped queries: query head j reads key and value head floor(j / group). */
function attention({ config, tensors }: ReferenceCheckpoint, prefix: string, h: Float64Array[]): Float64Array[] {
  const headDim = config.head_dim ?? config.hidden_size / config.num_attention_heads;
  const group = config.num_attention_heads / config.num_key_value_heads;
  const rope = ropeOf(config, headDim);
  const project = (name: string, row: Float64Array) => {
    const out = multiply(tensors.get(`${prefix}.${name}.weight`)!, row);
    const bias = tensors.get(`${prefix}.${name}.bias`);
    if (bias !== undefined) addTo(out, bias.values);
    return out;
  };
  const [queries, keys, values] = ["q_proj", "k_proj", "v_proj"].map((name) => h.map((row) => project(name, row))) as [
    Float64Array[],
    Float64Array[],
    Float64Array[],
  ];
  for (const rows of [queries, keys]) {
    for (const [position, row] of rows.entries()) rotate(row, headDim, position, rope);
  }

  return queries.map((query, t) => {
    const mixed = new Float64Array(query.length);
    for (let head = 0; head < config.num_attention_heads; head++) {
      const from = Math.floor(head / group) * headDim;
      const q = query.subarray(head * headDim, (head + 1) * headDim);
      const scores = keys.slice(0, t + 1).map((key) => dot(q, key.subarray(from, from + headDim)) / Math.sqrt(headDim));
      softmax(scores).forEach((share, s) => {
        addTo(mixed.subarray(head * headDim, (head + 1) * headDim), values[s]!.subarray(from, from + headDim), share);
      });
    }
    return project("o_proj", mixed);
  });
}

/** Routed experts in slot order, then the shared expert behind its sigmoid gate; records what the router did in `output`. */
function mixture(
  checkpoint: ReferenceCheckpoint,
  layer: number,
  h: Float64Array[],
  options: ForwardOptions,
  output: ReferenceOutput,
): Float64Array[] {
  const { config, tensors } = checkpoint;
  const block = `model.layers.${layer}.${config.model_type === "mixtral" ? "block_sparse_moe" : "mlp"}`;
  const model = {
    topK: config.num_experts_per_tok!,
    renormalise: config.model_type === "mixtral" || config.norm_topk_prob === true,
  };
  const sharedGateWeight = tensors.get(`${block}.shared_expert_gate.weight`);
  const record: ReferenceLayer = { layer, routerLogits: [], selections: [], sharedGate: [] };
  output.layers.push(record);

  return h.map((row, position) => {
    const place = { origin: "prompt", segment: "question", ...options.places?.[position], position } as const;
    const logits = multiply(tensors.get(`${block}.gate.weight`)!, row);
    const selection = select(logits, model, layer, place, options.changes ?? []);
    record.routerLogits.push(logits);
    record.selections.push(selection);
    const out = new Float64Array(row.length);
    selection.run.forEach((expert, slot) => {
      const output = feedForward(checkpoint, `${block}.experts`, row, expert);
      options.onExpert?.(layer, position, expert, selection.weights[slot]!, output);
      addTo(out, output, selection.weights[slot]!);
    });
    if (sharedGateWeight !== undefined) {
      const gate = sigmoid(multiply(sharedGateWeight, row)[0]!);
      record.sharedGate.push(gate);
      if (selection.runsShared) {
        const output = feedForward(checkpoint, `${block}.shared_expert`, row);
        options.onExpert?.(layer, position, "shared", gate, output);
        addTo(out, output, gate);
      }
    }
    return out;
  });
}

/** down(silu(gate h) * up h): a dense layer, the shared expert, or one routed expert, stored apart or stacked. */
function feedForward({ tensors }: ReferenceCheckpoint, prefix: string, h: Float64Array, expert?: number): Float64Array {
  const path = expert === undefined ? prefix : `${prefix}.${expert}`;
  const find = (...names: string[]) => names.map((name) => tensors.get(name)).find((matrix) => matrix !== undefined);
  const stacked = tensors.get(`${prefix}.gate_up_proj.${expert}`); // gate rows first, then up rows
  const gate = find(`${path}.gate_proj.weight`, `${path}.w1.weight`) ?? halfOf(stacked!, 0);
  const up = find(`${path}.up_proj.weight`, `${path}.w3.weight`) ?? halfOf(stacked!, 1);
  const down = find(`${path}.down_proj.weight`, `${path}.w2.weight`, `${prefix}.down_proj.${expert}`)!;
  const inner = multiply(gate, h);
  const factor = multiply(up, h);
  return multiply(
    down,
    inner.map((value, i) => value * sigmoid(value) * factor[i]!),
  );
}

function isMoeLayer({ config }: ReferenceCheckpoint, layer: number): boolean {
  if (config.model_type === "mixtral") return true;
  if (config.model_type !== "qwen2_moe" || config.num_experts === 0) return false;
  return !config.mlp_only_layers?.includes(layer) && (layer + 1) % (config.decoder_sparse_step ?? 1) === 0;
}

function halfOf({ rows, cols, values }: Matrix, half: 0 | 1): Matrix {
  const size = (rows / 2) * cols;
  return { rows: rows / 2, cols, values: values.subarray(half * size, (half + 1) * size) };
}

function rmsNorm(x: Float64Array, weight: Float32Array, epsilon: number): Float64Array {
  const scale = 1 / Math.sqrt(dot(x, x) / x.length + epsilon);
  return x.map((value, i) => value * scale * weight[i]!);
}

function softmax(scores: number[]): number[] {
  const highest = Math.max(...scores);
  const exponentials = scores.map((score) => Math.exp(score - highest));
  const total = exponentials.reduce((sum, value) => sum + value, 0);
  return exponentials.map((value) => value / total);
}

function multiply({ rows, cols, values }: Matrix, vector: Float64Array): Float64Array {
  const out = new Float64Array(rows);
  for (let row = 0; row < rows; row++) {
    let sum = 0;
    for (let col = 0; col < cols; col++) sum += values[row * cols + col]! * vector[col]!;
    out[row] = sum;
  }
  return out;
}

function dot(a: Float64Array, b: Float64Array): number {
  return a.reduce((sum, value, i) => sum + value * b[i]!, 0);
}

function addTo(target: Float64Array, source: ArrayLike<number>, factor = 1): void {
  for (let i = 0; i < target.length; i++) target[i]! += factor * source[i]!;
}

function sigmoid(value: number): number {
  return 1 / (1 + Math.exp(-value));
}

function fail(message: string): never {
  throw new Error(message);
}
