/**
 * What capture costs: steps at levels counts, topk and logits in turn, in one process, each against the counts step of its own round.
 * node scripts/bench-capture.mjs [model] [rounds] [ref|fast]. Prints the median extra time of each level with a 95 % bootstrap interval.
 */
import { Model } from "../dist/src/index.js";

const [name = "demo", rounds = "200", precision = "fast"] = process.argv.slice(2);
const LEVELS = ["counts", "topk", "logits"];
const PROMPT = 256;
const model = await Model.load(name, { precision });
const session = model.parts.engine.newSession({ cacheType: "f32", chunkRows: 256 });
const ids = (length, seed) => Int32Array.from({ length }, (_, i) => ((i + 1) * (seed * 7919 + 31)) % 200);
const sequence = session.createSequence([]);

async function stepSeconds(tokenIds, capture) {
  const segment = { sequence, tokenIds, origin: 0, segment: 1, head: { kind: "logits", rows: "last" } };
  const start = performance.now();
  await session.step({ segments: [segment], capture }, null, null);
  const seconds = (performance.now() - start) / 1000;
  session.truncateSequence(sequence, session.sequenceLength(sequence) - tokenIds.length);
  return seconds;
}

const median = (values) => [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)];

/** Extra time relative to the same round's counts step. */
async function extraOf(tokenIds, rounds) {
  const extra = { topk: [], logits: [] };
  for (let round = -5; round < rounds; round++) {
    const order = round % 2 === 0 ? LEVELS : [...LEVELS].reverse();
    const seconds = {};
    for (const level of order) seconds[level] = await stepSeconds(tokenIds, level);
    if (round < 0) continue;
    for (const level of ["topk", "logits"]) extra[level].push(seconds[level] / seconds.counts - 1);
  }
  return extra;
}

/** Median and its interval by resampling rounds; the seed is fixed. */
function summary(values) {
  let state = 1;
  const below = (n) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * n);
  };
  const drawn = Array.from({ length: 1000 }, () => median(values.map(() => values[below(values.length)])));
  drawn.sort((a, b) => a - b);
  const percent = (value) => Number((100 * value).toFixed(2));
  return { percent: percent(median(values)), low: percent(drawn[25]), high: percent(drawn[974]) };
}

const prefill = await extraOf(ids(PROMPT, 1), Number(rounds));
const filled = { sequence, tokenIds: ids(PROMPT, 2), origin: 0, segment: 1, head: { kind: "none" } };
await session.step({ segments: [filled], capture: "counts" }, null, null);
// A decode step is short, so a neighbour disturbs it more.
const decode = await extraOf(ids(1, 3), 20 * Number(rounds));
const figures = Object.fromEntries(
  Object.entries({ prefill, decode }).map(([work, { topk, logits }]) => [
    work,
    { topk: summary(topk), logits: summary(logits) },
  ]),
);
console.log(JSON.stringify({ model: name, precision, rounds: Number(rounds), device: model.parts.device, ...figures }));
session.dispose();
await model.dispose();
