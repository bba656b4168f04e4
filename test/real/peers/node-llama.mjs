/** Prints what llama.cpp makes of a GGUF file and a text: {ids, logprobs}, the rows in order. Run where node-llama-cpp is installed. */
import { createRequire } from "node:module";
import path from "node:path";
import { pathToFileURL } from "node:url";

const [folder, modelPath, text] = process.argv.slice(2);
const entry = createRequire(path.join(folder, "package.json")).resolve("node-llama-cpp");
const { getLlama } = await import(pathToFileURL(entry).href);
const llama = await getLlama({
  gpu: false,
  build: "never",
  skipDownload: true,
  logLevel: "error",
  progressLogs: false,
});
const model = await llama.loadModel({ modelPath });
const context = await model.createContext({ contextSize: 512, threads: 1 });
const ids = [...model.tokenize(text, false)];
const rows = await context
  .getSequence()
  .controlledEvaluate(ids.map((id) => [id, { generateNext: { probabilities: true } }]));
const logprobs = rows.map(({ next: { probabilities } }) => {
  const row = new Array(probabilities.size);
  for (const [id, probability] of probabilities) row[id] = Math.log(probability);
  return row;
});
// The engine keeps the process alive; the pipe is emptied first.
process.stdout.write(`${JSON.stringify({ ids, logprobs })}\n`, () => process.exit(0));
