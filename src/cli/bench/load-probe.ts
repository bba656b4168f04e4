#!/usr/bin/env node
/** Loads a model in a process of its own, generates one token, and prints how long loading took: `bench` measures the process. */
import { type LoadOptions, Model } from "../../index.js";

async function probe(path: string, options: LoadOptions): Promise<void> {
  const start = performance.now();
  const model = await Model.load(path, options);
  const loadSeconds = (performance.now() - start) / 1000;
  await model.generate([1, 2, 3], { maxTokens: 1, temperature: 0 });
  await model.dispose();
  process.stdout.write(JSON.stringify({ loadSeconds }));
}

const [path, options] = process.argv.slice(2);
probe(path!, JSON.parse(options!)).catch((error) => {
  process.stderr.write(String(error));
  process.exitCode = 1;
});
