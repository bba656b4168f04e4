/**
 * What capture costs: texts side by side in one process, watched at levels counts, topk and logits, take turns step by step; each
 * step is compared with the counts step of its own round. The path is that of every call, up to the arrays of the finished trace.
 * node scripts/bench-capture.mjs [model] [rounds] [ref|fast] [prompt tokens] [tokens behind it]. Prints the median extra time of each level with a 95 %
 * bootstrap interval, in percent of a step, and the time of a step.
 */
import { Model } from "../dist/src/index.js";

const [name = "demo", rounds = "40", precision = "fast", promptTokens = "256", steps = "64"] = process.argv.slice(2);
/** "again" is a second text at level counts: what a difference of nothing looks like. */
const LEVELS = ["counts", "again", "topk", "logits"];
const PROMPT = Number(promptTokens);
const STEPS = Number(steps);
/** Rounds before the first that counts: until then much of the code is not compiled. */
const WARM = 20;
const model = await Model.load(name, { precision });
const { engine } = model.parts;

let state = 1;
const below = (n) => {
  state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
  return Math.floor((state / 2 ** 32) * n);
};
const shuffled = (values) => {
  const left = [...values];
  return values.map(() => left.splice(below(left.length), 1)[0]);
};
const idsOf = (length) => Int32Array.from({ length }, () => below(200));

async function secondsOf(sequence, tokenIds, origin) {
  const start = performance.now();
  await sequence.append({ tokenIds, origin, segment: origin === 0 ? 1 : 3, head: { kind: "logits", rows: "last" } });
  return (performance.now() - start) / 1000;
}

const COMPARED = LEVELS.slice(1);
const perLevel = (make) => Object.fromEntries(COMPARED.map((level) => [level, make(level)]));
const extra = { prefill: perLevel(() => []), decode: perLevel(() => []) };
const base = { prefill: [], decode: [] };

function compare(work, seconds) {
  base[work].push(seconds.counts);
  for (const level of COMPARED) extra[work][level].push(seconds[level] / seconds.counts - 1);
}

/** A prompt and STEPS tokens behind it, at all levels in turn; the time to hand the trace out is shared by all of its rows. */
async function round(call, isWarm) {
  const prompt = idsOf(PROMPT);
  const opened = shuffled(LEVELS).map((level) => {
    const kind = { ...model.kindAt(level === "again" ? "counts" : level), cacheKey: undefined };
    return [level, call.open(kind, { maxLength: PROMPT + STEPS })];
  });
  const sequences = Object.fromEntries(opened);
  const steps = [];
  const prefill = {};
  for (const level of shuffled(LEVELS)) prefill[level] = await secondsOf(sequences[level], prompt, 0);
  for (let step = 0; step < STEPS; step++) {
    const token = idsOf(1);
    const seconds = {};
    for (const level of shuffled(LEVELS)) seconds[level] = await secondsOf(sequences[level], token, 1);
    steps.push(seconds);
  }
  for (const level of shuffled(LEVELS)) {
    const start = performance.now();
    const { trace } = sequences[level];
    const perRow = (performance.now() - start) / 1000 / (PROMPT + STEPS);
    if (trace !== undefined && trace.numTokens !== PROMPT + STEPS) throw new Error("The trace lacks rows.");
    prefill[level] += perRow * PROMPT;
    for (const seconds of steps) seconds[level] += perRow;
    sequences[level].close();
  }
  if (!isWarm) return;
  compare("prefill", prefill);
  for (const seconds of steps) compare("decode", seconds);
}

const median = (values) => Float64Array.from(values).sort()[Math.floor(values.length / 2)];

/** Median and its interval by resampling rounds; the seed is fixed. */
function summary(values) {
  const drawn = Float64Array.from({ length: 1000 }, () =>
    median(Float64Array.from(values, () => values[below(values.length)])),
  ).sort();
  const percent = (value) => Number((100 * value).toFixed(2));
  return { percent: percent(median(values)), low: percent(drawn[25]), high: percent(drawn[974]) };
}

await engine.run(undefined, async (call) => {
  for (let number = -WARM; number < Number(rounds); number++) await round(call, number >= 0);
});
const figures = Object.fromEntries(
  Object.entries(extra).map(([work, levels]) => {
    const stepMs = Number((1000 * median(base[work])).toFixed(3));
    return [work, { stepMs, ...perLevel((level) => summary(levels[level])) }];
  }),
);
console.log(JSON.stringify({ model: name, precision, rounds: Number(rounds), device: model.parts.device, ...figures }));
await model.dispose();
