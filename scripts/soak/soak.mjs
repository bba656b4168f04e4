/**
 * Random requests in random company: they join and leave at any step, begin alike or not, are watched or not, run under interventions
 * or not, and are cancelled at any moment. Each must give the bits that it gives alone, none may stall, and in the end nothing is left.
 */
import { createHash } from "node:crypto";

/** Requests that are drawn from; each was answered alone before. */
const NUM_REQUESTS = 60;
const MAX_CONCURRENT = 24;
const STALL_SECONDS = 60;

const VARIANTS = [
  [],
  [{ kind: "mask", layers: [1], experts: [0, 3] }],
  [{ kind: "top-k", layers: [0, 2], k: 4 }],
  [{ kind: "bias", layers: [1], bias: { 2: 1.5 }, origin: "generated" }],
  [{ kind: "zero", layers: [2], experts: [1, "shared"], segments: ["choice"] }],
];
const LEVELS = ["counts", "counts", "topk", "logits", "hidden"];

/** Numbers in [0, 1) from a seed (mulberry32). */
function randomNumbers(seed) {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** A request as a function of a signal, and what it is, for messages. */
function randomRequest(model, random, index) {
  const below = (n) => Math.floor(random() * n);
  const pick = (list) => list[below(list.length)];
  const tokens = (seed, length) => Array.from({ length }, (_, i) => (i * 131 + seed * 977 + i * i * 7) % 2000);
  // A few beginnings are shared by many requests, at lengths around the borders of pages and steps.
  const prompt = () => [
    ...tokens(below(3), pick([20, 63, 64, 65, 150, 256, 300])),
    ...tokens(10 + below(5), 1 + below(40)),
  ];
  const variant = below(VARIANTS.length);
  const subject = model.with(VARIANTS[variant]);
  const trace = pick(LEVELS);
  const kind = pick(["generate", "chat", "loglikelihood", "loglikelihood", "forward"]);
  const sampling = { temperature: pick([0, 0.8]), topK: 40, repetitionPenalty: pick([1, 1.2]), seed: below(1000) };
  const limits = { maxTokens: 1 + below(40), n: 1 + below(3), trace, ...sampling };
  const pairs = () => {
    const contextIds = prompt();
    return Array.from({ length: 1 + below(4) }, (_, i) => ({
      contextIds: i === 3 ? prompt() : contextIds,
      continuationIds: tokens(20 + below(4), 1 + below(3)),
    }));
  };
  const ids = prompt();
  const requests = pairs();
  const messages = [{ role: "user", content: `Request ${below(9)}: what is ${below(9)} + ${below(9)}?` }];
  const logits = pick(["last", "all", "none"]);
  const run = {
    generate: (signal) => subject.generate(ids, { ...limits, signal }),
    chat: (signal) => subject.chat(messages, { ...limits, signal }),
    loglikelihood: (signal) => subject.loglikelihood(requests, { trace, signal }),
    forward: (signal) => subject.forward(ids, { logits, trace, signal }),
  }[kind];
  return { run, name: `request ${index}: ${kind} at level ${trace} under intervention ${variant}` };
}

/** A hash of all that an answer says, but not of what depends on company: times, and which rows ran for whom. */
function digest(answer) {
  const hash = createHash("sha256");
  const add = (value, name) => {
    if (name === "timing" || name === "computed" || name === "metadata") return;
    if (ArrayBuffer.isView(value)) hash.update(Buffer.from(value.buffer, value.byteOffset, value.byteLength));
    else if (value !== null && typeof value === "object") for (const key of Object.keys(value)) add(value[key], key);
    else hash.update(`${name}=${value};`);
  };
  add(answer, "");
  return hash.digest("hex");
}

/** Answers one request in company, sometimes cancelled after a while; adds to the tally, throws where something is wrong. */
async function runOne({ request, expected, random, tally }) {
  const controller = new AbortController();
  const isCancelled = random() < 0.3;
  const delay = random() * 60;
  const cancel = isCancelled ? setTimeout(() => controller.abort(), delay) : undefined;
  const stall = setTimeout(() => controller.abort(new Error("stalled")), STALL_SECONDS * 1000);
  try {
    const actual = digest(await request.run(controller.signal));
    if (actual !== expected) throw new Error(`${request.name} gave other bits in company than alone.`);
    tally.answered++;
  } catch (error) {
    if (controller.signal.reason?.message === "stalled")
      throw new Error(`${request.name} stalled for ${STALL_SECONDS} s.`);
    if (!(isCancelled && error.code === "ABORTED")) throw error;
    tally.cancelled++;
  } finally {
    clearTimeout(cancel);
    clearTimeout(stall);
  }
}

/** Resident memory in MiB, after what is garbage was collected where node runs with --expose-gc. */
function residentMiB() {
  globalThis.gc?.();
  return process.memoryUsage().rss / 2 ** 20;
}

/**
 * Runs requests against `model` for `seconds`. @returns how many were answered and cancelled, and the memory at the end of each
 * tenth of the time. Throws at the first answer with other bits, at a stall, and where sequences or pages are left.
 */
export async function soak(model, { seconds, seed, onProgress = () => {} }) {
  const { engine } = model.parts;
  const random = randomNumbers(seed);
  const requests = [];
  for (let index = 0; index < NUM_REQUESTS; index++) {
    const request = randomRequest(model, random, index);
    await engine.clearPrefixes();
    requests.push({ request, expected: digest(await request.run()) });
  }
  const tally = { answered: 0, cancelled: 0, residentMiB: [], mostActive: 0 };
  const end = performance.now() + seconds * 1000;
  for (let tenth = 1; tenth <= 10; tenth++) {
    const until = end - ((10 - tenth) / 10) * seconds * 1000;
    const worker = async () => {
      while (performance.now() < until) {
        // Now and then a pause, so that the company changes in size.
        if (random() < 0.1) await new Promise((resolve) => setTimeout(resolve, random() * 100));
        await runOne({ ...requests[Math.floor(random() * requests.length)], random, tally });
        tally.mostActive = Math.max(tally.mostActive, engine.scheduler.usage().active);
      }
    };
    await Promise.all(Array.from({ length: 1 + Math.floor(random() * MAX_CONCURRENT) }, worker));
    tally.residentMiB.push(Math.round(residentMiB()));
    onProgress({ ...tally, tenth });
  }
  await engine.clearPrefixes();
  const left = await engine.usage();
  const held = Object.entries(left).filter(([, count]) => count !== 0);
  if (held.length > 0) throw new Error(`Nothing should be held in the end, found ${JSON.stringify(left)}.`);
  return tally;
}
