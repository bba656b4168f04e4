/** `moescope reconstruct`: what a layer's output loses when only some of its experts may be chosen. */
import type { Command } from "commander";
import { loadOn } from "../experiment/ablation-scan.js";
import { allSlots, CRITERIA, type Criterion } from "../experiment/expert-slots.js";
import { documentsOf } from "../experiment/forced.js";
import { requireMoeLayer } from "../experiment/layer-outputs.js";
import { leastUseful } from "../experiment/prune-report.js";
import { type SubsetReconstruction, subsetReconstruction } from "../experiment/subset-reconstruction.js";
import { usefulness } from "../experiment/usefulness.js";
import { type ExperimentOptions, runExperiment } from "./experiment.js";
import type { Terminal } from "./io.js";
import { withModel } from "./load.js";
import { integer, integers, jsonOption, type ModelOptions, oneOf, withModelOptions } from "./options.js";
import { type QuestionOptions, questionsOf, withQuestionOptions } from "./questions.js";
import { formatNumber, textTable } from "./text-table.js";

interface Options extends ModelOptions, QuestionOptions, ExperimentOptions {
  keep?: number[];
  remove: number;
  criterion: Criterion;
  layers?: number[];
  controls: number;
  maxTokens: number;
  seed: number;
}

export function registerReconstruct(program: Command, terminal: Terminal): void {
  const command = program
    .command("reconstruct")
    .description("how far a layer's output moves when only some of its experts may be chosen, beside random ones")
    .argument("<model>", "folder, .gguf file or demo");
  withQuestionOptions(command)
    .option("--keep <list>", "experts that may be chosen, e.g. 0,2,5 (default: all but those of --remove)", integers)
    .option("--remove <n>", "without --keep: the n least useful experts of each layer are left out", integer(1), 1)
    .option("--criterion <criterion>", `usefulness: ${CRITERIA.join(" or ")}`, oneOf(...CRITERIA), "load" as Criterion)
    .option("--layers <list>", "only these layers, e.g. 0,3 (default: all)", integers)
    .option("--controls <n>", "random sets of as many experts to compare with", integer(0, 64), 4)
    .option("--max-tokens <n>", "tokens of an item that are read", integer(2), 256)
    .option("--seed <n>", "seed of the random sets and the bootstrap", integer(0), 0)
    .option("--out <dir>", "folder for result.json")
    .addOption(jsonOption("print the result as JSON"));
  withModelOptions(command)
    .addHelpText(
      "after",
      "\nExample:\n  $ moescope reconstruct demo --data mmlu-mini --limit 20 --remove 2 --criterion reap",
    )
    .action((name: string, options: Options) => reconstruct(terminal, name, options));
}

async function reconstruct(terminal: Terminal, name: string, options: Options): Promise<void> {
  const questions = await questionsOf(options);
  const { criterion, remove, keep, controls, seed, maxTokens } = options;
  const { signal } = terminal;
  await withModel(terminal, name, options, async (model) => {
    const { shape } = model.parts;
    const layers = options.layers ?? shape.moeLayers;
    for (const layer of layers) requireMoeLayer(model, layer);
    await runExperiment<{ layers: SubsetReconstruction[] }>(terminal, options, {
      ...{ label: "Reconstructing", unit: "layers" },
      run: async (update) => {
        const documents = await documentsOf(model, questions, { maxTokens, signal });
        const texts = documents.map(({ tokenIds }) => tokenIds);
        const slots = allSlots(shape);
        const values =
          keep === undefined
            ? await usefulness(model, questions, await loadOn(model, questions, signal), criterion, signal)
            : new Float64Array(slots.length);
        const out = leastUseful(slots, values, remove);
        const found: SubsetReconstruction[] = [];
        for (const [done, layer] of layers.entries()) {
          update(done, layers.length);
          const kept =
            keep ?? slots.filter((slot) => slot.layer === layer && !out.includes(slot)).map(({ expert }) => expert);
          found.push(await subsetReconstruction(model, texts, layer, kept, { controls, seed, signal }));
        }
        update(layers.length, layers.length);
        return { layers: found };
      },
      text: ({ layers }) => reconstructionText(layers),
    });
  });
}

function reconstructionText(layers: readonly SubsetReconstruction[]): string {
  const rows = layers.map(({ layer, kept, mean, interval: [low, high], relative, controls }) => [
    String(layer),
    `${kept.length}: ${kept.join(", ")}`,
    `${formatNumber(mean)} [${formatNumber(low)}, ${formatNumber(high)}]`,
    `${(100 * relative).toFixed(1)} %`,
    controls.map((control) => formatNumber(control.mean)).join(", "),
  ]);
  return [
    `${layers[0]!.tokens} tokens; |F(x) - F_kept(x)| of the MoE block on the same inputs`,
    textTable([["layer", "kept", "mean (95 %)", "of |F(x)|", "random sets"], ...rows], [0, 3]),
  ].join("\n\n");
}
