#!/usr/bin/env node
/** node --expose-gc scripts/soak.mjs [--seconds 300] [--seed 1] [--model demo] [--precision ref|fast]: see soak/soak.mjs. */
import { parseArgs } from "node:util";
import { Model } from "../dist/src/index.js";
import { soak } from "./soak/soak.mjs";

const { values } = parseArgs({
  options: {
    seconds: { type: "string", default: "300" },
    seed: { type: "string", default: "1" },
    model: { type: "string", default: "demo" },
    precision: { type: "string", default: "ref" },
  },
});
const seconds = Number(values.seconds);
// Little room for prefixes, so that they are evicted all the time.
const model = await Model.load(values.model, { precision: values.precision, kvCacheBytes: 24 * 2 ** 20 });
const tally = await soak(model, {
  seconds,
  seed: Number(values.seed),
  onProgress: ({ tenth, answered, cancelled, residentMiB }) =>
    console.log(`${tenth * 10} %: ${answered} answered, ${cancelled} cancelled, ${residentMiB.at(-1)} MiB resident`),
});
await model.dispose();
const [first, last] = [Math.max(...tally.residentMiB.slice(1, 5)), Math.max(...tally.residentMiB.slice(-2))];
console.log(
  `Same bits, nothing left; at most ${tally.mostActive} texts at once; memory ${first} MiB, in the end ${last} MiB.`,
);
if (last > 1.1 * first + 20) throw new Error("Memory grew.");
