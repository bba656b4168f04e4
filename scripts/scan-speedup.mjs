/**
 * What sharing lower layers saves in an ablation scan: every expert of a model out in turn over lines, one by one and sharing.
 * `node scripts/scan-speedup.mjs MODEL LINES.jsonl [precision]`; without lines, the facts of evals/mini as choices. Needs `npm run build`.
 */
import { readFileSync } from "node:fs";
import { Ablations, allSlots, lineQuestions, Model, readScoredLines } from "../dist/src/index.js";

const [name = "demo", file, precision = "ref"] = process.argv.slice(2);
const lines = file === undefined ? facts() : await readScoredLines(file);
const model = await Model.load(name, { precision });
const questions = lineQuestions(lines, file ?? "facts");
const sets = allSlots(model.parts.shape).map((slot) => [slot]);
await questions.ask(model); // warm

const timed = async (work) => {
  const started = performance.now();
  const result = await work();
  return { result, seconds: (performance.now() - started) / 1000 };
};
const one = await Ablations.open(model, { ...questions, lines: undefined }, { mode: "zero" });
const naive = await timed(async () => {
  const answers = [];
  for (const set of sets) answers.push(await one.without(set));
  return answers;
});
const sharing = await timed(async () => (await Ablations.open(model, questions, { mode: "zero" })).withoutEach(sets));
const same = JSON.stringify(naive.result) === JSON.stringify(sharing.result);
console.log(
  `${sets.length} experts x ${lines.length} lines: one by one ${naive.seconds.toFixed(1)} s, sharing ${sharing.seconds.toFixed(1)} s, ` +
    `${(naive.seconds / sharing.seconds).toFixed(2)} times as fast; answers ${same ? "equal" : "DIFFERENT"}`,
);
await model.dispose();

function facts() {
  const rows = readFileSync(new URL("../evals/mini/mmlu-mini.jsonl", import.meta.url), "utf8")
    .trim()
    .split("\n");
  return rows.map((row) => {
    const { id, question, choices, answer, subject } = JSON.parse(row);
    const context = `Question: ${question}\nAnswer:`;
    return { id, group: subject, context, choices: choices.map((choice) => ` ${choice}`), answer };
  });
}
