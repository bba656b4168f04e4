import type { ModelConfig } from "./model-config.js";

/** Rows are output neurons, columns the input width; a vector has one row. */
export interface MatrixShape {
  rows: number;
  cols: number;
}

/** The projections of an FFN, be it a dense layer, an expert or the shared expert. */
export type Projection = "gate" | "up" | "down";
export const PROJECTIONS: readonly Projection[] = ["gate", "up", "down"];

/** Matrices outside the layers. */
function globalShapes(config: ModelConfig): Map<string, MatrixShape> {
  const { hiddenSize, vocabSize } = config;
  const shapes = new Map([
    ["embed", { rows: vocabSize, cols: hiddenSize }],
    ["final_norm", { rows: 1, cols: hiddenSize }],
  ]);
  if (!config.tieWordEmbeddings) shapes.set("head", { rows: vocabSize, cols: hiddenSize });
  return shapes;
}

/** Matrices of one layer but its routed experts, by role without the prefix `layers.N.`. */
function layerShapes(config: ModelConfig, isMoe: boolean): Map<string, MatrixShape> {
  const { hiddenSize } = config;
  const qRows = config.numAttentionHeads * config.headDim;
  const kvRows = config.numKeyValueHeads * config.headDim;
  const shapes = new Map([
    ["attn_norm", { rows: 1, cols: hiddenSize }],
    ["q", { rows: qRows, cols: hiddenSize }],
    ["k", { rows: kvRows, cols: hiddenSize }],
    ["v", { rows: kvRows, cols: hiddenSize }],
    ["o", { rows: hiddenSize, cols: qRows }],
    ["ffn_norm", { rows: 1, cols: hiddenSize }],
  ]);
  if (config.attentionBias) {
    shapes.set("q_bias", { rows: 1, cols: qRows });
    shapes.set("k_bias", { rows: 1, cols: kvRows });
    shapes.set("v_bias", { rows: 1, cols: kvRows });
  }
  if (!isMoe) {
    for (const part of PROJECTIONS) shapes.set(part, projectionShape(hiddenSize, config.intermediateSize, part));
    return shapes;
  }
  shapes.set("router", { rows: config.numExperts, cols: hiddenSize });
  const sharedSize = config.sharedExpertIntermediateSize;
  if (sharedSize > 0) {
    for (const part of PROJECTIONS) shapes.set(`shared.${part}`, projectionShape(hiddenSize, sharedSize, part));
    shapes.set("shared_gate", { rows: 1, cols: hiddenSize });
  }
  return shapes;
}

function projectionShape(hiddenSize: number, innerSize: number, part: Projection): MatrixShape {
  return part === "down" ? { rows: hiddenSize, cols: innerSize } : { rows: innerSize, cols: hiddenSize };
}

const LAYER_ROLE = /^layers\.(\d+)\.(.+)$/;
const EXPERT_ROLE = /^experts\.(\d+)\.(gate|up|down)$/;

/** The matrices that a config calls for: which roles there are, and the shape of each. */
export class ExpectedTensors {
  readonly #config: ModelConfig;
  readonly #global: ReadonlyMap<string, MatrixShape>;
  readonly #dense: ReadonlyMap<string, MatrixShape>;
  readonly #moe: ReadonlyMap<string, MatrixShape>;

  constructor(config: ModelConfig) {
    this.#config = config;
    this.#global = globalShapes(config);
    this.#dense = layerShapes(config, false);
    this.#moe = layerShapes(config, true);
  }

  /** Undefined where the config has no such role: a layer too many, an expert too many, a bias that is not there. */
  shapeOf(role: string): MatrixShape | undefined {
    const inLayer = LAYER_ROLE.exec(role);
    if (inLayer === null) return this.#global.get(role);
    const isMoe = this.#config.isMoeLayer[Number(inLayer[1])];
    if (isMoe === undefined) return undefined;
    const expert = EXPERT_ROLE.exec(inLayer[2]!);
    if (expert === null) return (isMoe ? this.#moe : this.#dense).get(inLayer[2]!);
    if (!isMoe || Number(expert[1]) >= this.#config.numExperts) return undefined;
    return projectionShape(this.#config.hiddenSize, this.#config.moeIntermediateSize, expert[2] as Projection);
  }

  /** Every role, in the order of the forward pass. Lazy: a hostile config may call for more than memory holds. */
  *roles(): Generator<string> {
    yield* this.#global.keys();
    for (const [layer, isMoe] of this.#config.isMoeLayer.entries()) {
      for (const name of (isMoe ? this.#moe : this.#dense).keys()) yield `layers.${layer}.${name}`;
      if (isMoe) yield* this.#expertRoles(layer);
    }
  }

  *#expertRoles(layer: number): Generator<string> {
    for (let expert = 0; expert < this.#config.numExperts; expert++) {
      for (const part of PROJECTIONS) yield `layers.${layer}.experts.${expert}.${part}`;
    }
  }
}
