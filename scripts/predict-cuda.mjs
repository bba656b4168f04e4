#!/usr/bin/env node
/**
 * Prints what Qwen2-57B-A14B should reach on each card, by the model of scripts/cuda/performance-model.mjs with the registers of the
 * last `npm run build:cuda`. A prediction, not a measurement: docs/cuda.md.
 *
 *   node scripts/predict-cuda.mjs [--context N] [--json]
 */
import fs from "node:fs";
import path from "node:path";
import util from "node:util";
import { CARDS, predictDecode, predictPrefill } from "./cuda/performance-model.mjs";
import { SetupError } from "./prepare/step.mjs";
import { ROOT, runScript } from "./prepare.mjs";

const FILES = ["BF16", "Q8_0", "Q5_K_M", "Q4_K_M"];
const BATCHES = [1, 2, 4, 8, 16, 64];
const PREFILLS = [512, 4096, 32768];

await runScript(async () => {
  const { values } = util.parseArgs({
    options: { context: { type: "string", default: "1" }, json: { type: "boolean", default: false } },
  });
  const context = Number(values.context);
  if (!Number.isInteger(context) || context < 1)
    throw new SetupError(`Expected a context >= 1, got ${values.context}.`);
  const file = path.join(ROOT, "native", "build-cuda", "resources.json");
  if (!fs.existsSync(file)) throw new SetupError(`Expected ${file}: run \`npm run build:cuda\` first.`);
  const resources = JSON.parse(fs.readFileSync(file, "utf8"));
  const rows = Object.entries(CARDS).flatMap(([name, card]) =>
    FILES.map((type) => ({
      card: name,
      type,
      decode: BATCHES.map((batch) => ({ batch, ...predictDecode(card, type, batch, context, resources) })),
      prefill: PREFILLS.map((tokens) => ({ tokens, ...predictPrefill(card, type, tokens) })),
    })),
  );
  if (values.json) {
    console.log(JSON.stringify({ context, rows }));
    return;
  }
  console.log(
    `| card | type | ${BATCHES.map((batch) => `batch ${batch}`).join(" | ")} | share of bandwidth | ${PREFILLS.map((n) => `prefill ${n}`).join(" | ")} |`,
  );
  console.log(`| --- | --- |${" ---: |".repeat(BATCHES.length + 1 + PREFILLS.length)}`);
  for (const row of rows) {
    const decode = row.decode.map((one) => one.tokensPerSecond.toFixed(0)).join(" | ");
    const share = `${(100 * row.decode[0].streamingShare).toFixed(0)} %`;
    const prefill = row.prefill.map((one) => one.tokensPerSecond.toFixed(0)).join(" | ");
    console.log(`| ${row.card} | ${row.type} | ${decode} | ${share} | ${prefill} |`);
  }
});
