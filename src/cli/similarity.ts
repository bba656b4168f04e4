/** `moescope similarity`: which experts of a layer are alike. */
import type { Command } from "commander";
import { SIMILARITY_MEASURES, type SimilarityMeasure } from "../analysis/similarity.js";
import { InvalidArgumentError } from "../errors.js";
import { type ExpertSimilarity, expertSimilarity } from "../experiment/expert-similarity.js";
import { documentsOf } from "../experiment/forced.js";
import { requireMoeLayer } from "../experiment/layer-outputs.js";
import {
  expertWeightSimilarity,
  WEIGHT_MEASURES,
  type WeightMeasure,
  type WeightSimilarity,
} from "../experiment/weight-similarity.js";
import type { Model } from "../model/model.js";
import { type ExperimentOptions, runExperiment } from "./experiment.js";
import type { Terminal } from "./io.js";
import { withModel } from "./load.js";
import { integer, integers, jsonOption, type ModelOptions, oneOf, withModelOptions } from "./options.js";
import { type QuestionOptions, questionsOf, withQuestionOptions } from "./questions.js";
import { formatNumber, textTable } from "./text-table.js";

interface Options extends ModelOptions, QuestionOptions, ExperimentOptions {
  of: "outputs" | "weights";
  measure: SimilarityMeasure;
  layers?: number[];
  maxTokens: number;
  seed: number;
}

interface Similarities {
  of: "outputs" | "weights";
  layers: (ExpertSimilarity | WeightSimilarity)[];
}

/** Pairs that the table lists for each layer. */
const PAIRS = 3;

export function registerSimilarity(program: Command, terminal: Terminal): void {
  const command = program
    .command("similarity")
    .description("which experts of a layer are alike: by what they answer to the same tokens, or by their weights")
    .argument("<model>", "folder, .gguf file or demo");
  withQuestionOptions(command)
    .option(
      "--of <what>",
      "outputs (of all experts on the same tokens) or weights",
      oneOf("outputs", "weights"),
      "outputs",
    )
    .option("--measure <measure>", SIMILARITY_MEASURES.join(", "), oneOf(...SIMILARITY_MEASURES), "cosine")
    .option("--layers <list>", "only these layers, e.g. 0,3 (default: all)", integers)
    .option("--max-tokens <n>", "tokens that the experts answer to", integer(2), 256)
    .option("--seed <n>", "seed of the permuted tokens", integer(0), 0)
    .option("--out <dir>", "folder for result.json")
    .addOption(jsonOption("print the result as JSON, all pairs included"));
  withModelOptions(command)
    .addHelpText(
      "after",
      "\nThe weights need no text, but --data all the same.\n\nExample:\n  $ moescope similarity demo --data mmlu-mini --limit 20 --measure cka",
    )
    .action((name: string, options: Options) => similarity(terminal, name, options));
}

async function similarity(terminal: Terminal, name: string, options: Options): Promise<void> {
  const { of, measure } = options;
  if (of === "weights" && !(WEIGHT_MEASURES as readonly string[]).includes(measure)) {
    throw new InvalidArgumentError(`Expected ${WEIGHT_MEASURES.join(", ")} for --measure of weights, got ${measure}.`);
  }
  const questions = await questionsOf(options);
  await withModel(terminal, name, options, async (model) => {
    const layers = options.layers ?? model.parts.shape.moeLayers;
    for (const layer of layers) requireMoeLayer(model, layer);
    await runExperiment<Similarities>(terminal, options, {
      ...{ label: "Comparing", unit: "layers" },
      run: async (update) => {
        const compare =
          of === "weights" ? byWeights(model, options) : await byOutputs(model, questions, options, terminal);
        const found: Similarities["layers"] = [];
        for (const [done, layer] of layers.entries()) {
          update(done, layers.length);
          found.push(await compare(layer));
        }
        update(layers.length, layers.length);
        return { of, layers: found };
      },
      text: similarityText,
    });
  });
}

function byWeights({ parts }: Model, { measure, seed }: Options) {
  return async (layer: number): Promise<WeightSimilarity> =>
    expertWeightSimilarity(parts.checkpoint, layer, measure as WeightMeasure, { seed });
}

async function byOutputs(
  model: Model,
  questions: Awaited<ReturnType<typeof questionsOf>>,
  { measure, maxTokens, seed }: Options,
  { signal }: Terminal,
) {
  const documents = await documentsOf(model, questions, { maxTokens, signal });
  const texts = documents.map(({ tokenIds }) => tokenIds);
  return (layer: number) => expertSimilarity(model, texts, layer, { measure, maxTokens, seed, signal });
}

/** Divergences are small where experts are alike. */
const isDivergence = (measure: SimilarityMeasure) => measure === "jsd";

function similarityText({ layers }: Similarities): string {
  const rows = layers.map(({ layer, measure, values, null: chance }) => {
    const size = Math.sqrt(values.length);
    const pairs = Array.from({ length: size * size }, (_, cell) => ({
      a: Math.floor(cell / size),
      b: cell % size,
      cell,
    }))
      .filter(({ a, b }) => a < b)
      .sort((x, y) => (values[y.cell]! - values[x.cell]!) * (isDivergence(measure) ? -1 : 1));
    const meanOf = (of: Float64Array) => pairs.reduce((sum, { cell }) => sum + of[cell]!, 0) / pairs.length;
    const nearest = pairs.slice(0, PAIRS).map(({ a, b, cell }) => `${a} and ${b}: ${formatNumber(values[cell]!, 3)}`);
    return [String(layer), formatNumber(meanOf(values), 3), formatNumber(meanOf(chance), 3), nearest.join("; ")];
  });
  const [first] = layers;
  const { measure } = first!;
  return [
    "tokens" in first!
      ? `${measure} of outputs, ${first.tokens} tokens; null: the second expert's tokens permuted`
      : `${measure} of weights; null: weights that have nothing to do with each other`,
    textTable([["layer", "mean of pairs", "null", "most alike"], ...rows], [0, 1, 2]),
  ].join("\n\n");
}
