/** The inputs of `corpus/`: seeds, and what once was a finding. None may end in anything but an answer or an error of ours. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { Model } from "../../src/model/model.js";
import type { FuzzTarget } from "./target.js";
import { fileWriter } from "./target.js";

const HERE = import.meta.dirname;
const targets = readdirSync(join(HERE, "targets")).map((file) => file.replace(/\.ts$/, ""));

it.each(targets)("%s has seeds", (name) => {
  expect(readdirSync(join(HERE, "corpus", name)).length).toBeGreaterThan(0);
});

it.each(["qwen2moe", "quantised"])("loads %s, so that what comes behind the reader is fuzzed", async (file) => {
  const path = fileWriter("model.gguf")(readFileSync(join(HERE, "corpus", "model", file)));
  const model = await Model.load(path, { threads: 1, maxContext: 8 });
  await model.dispose();
});

describe.each(targets)("%s", (name) => {
  it.each(readdirSync(join(HERE, "corpus", name)))("survives %s", async (file) => {
    const { fuzz } = (await import(`./targets/${name}.ts`)) as { fuzz: FuzzTarget };
    await fuzz(readFileSync(join(HERE, "corpus", name, file)));
  });
});
