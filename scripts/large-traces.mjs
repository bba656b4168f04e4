/**
 * Traces of the shape of Qwen2-57B-A14B (28 layers, 64 experts, top 8) with random routes, written as a run writes them and analysed:
 * `node scripts/large-traces.mjs write DIR [samples] [tokens]`, then `... analyse DIR` or `... sql DIR`. Prints the time and the largest
 * memory of its own process. Needs `npm run build`; `sql` also needs @duckdb/node-api.
 */
import {
  AdjacentTokens,
  analyze,
  Coactivation,
  LayerTransitions,
  RouteMargins,
  RouterTrace,
  RoutingLoad,
  readTraces,
  Specialization,
  sqlAdjacentTokens,
  sqlCoactivation,
  sqlLoad,
  sqlMargins,
  sqlTransitions,
  TraceDatabase,
  TraceShards,
} from "../dist/src/index.js";

const LAYERS = 28;
const EXPERTS = 64;
const K = 8;
const SAMPLES_PER_SHARD = 100;
const METADATA = {
  ...{ model: "synthetic", architecture: "qwen2_moe", numLayers: LAYERS, numExperts: EXPERTS, numExpertsPerToken: K },
  moeLayers: Array.from({ length: LAYERS }, (_, layer) => layer),
  ...{ normTopkProb: false, hasSharedExpert: true, dtype: "Q5_K", precision: "fast", device: "none" },
};

const [command, folder, ...counts] = process.argv.slice(2);
const started = performance.now();
const log = (text) => {
  const megabytes = process.resourceUsage().maxRSS / 1024;
  console.log(`${((performance.now() - started) / 1000).toFixed(1)} s, at most ${megabytes.toFixed(0)} MiB: ${text}`);
};
if (command === "write") await write(Number(counts[0] ?? 10_000), Number(counts[1] ?? 64));
else if (command === "analyse") await analyse();
else if (command === "sql") await sql();
else throw new Error(`Expected write, analyse or sql, got ${command}.`);

async function write(samples, tokens) {
  const shards = await TraceShards.open(folder);
  const random = generator(1);
  for (let sample = 0; sample < samples; sample++) {
    shards.append(trace(sample, tokens, random));
    if ((sample + 1) % SAMPLES_PER_SHARD === 0) await shards.flush();
  }
  await shards.flush();
  log(`wrote ${samples} samples of ${tokens} tokens, ${samples * tokens * LAYERS} rows`);
}

/** Domain 1 of two prefers the first eight experts of every fourth layer. */
function trace(sample, tokens, random) {
  const rows = tokens * LAYERS;
  const experts = new Uint16Array(rows * K);
  const order = Uint16Array.from({ length: EXPERTS }, (_, expert) => expert);
  for (let row = 0; row < rows; row++) {
    const prefers = sample % 2 === 1 && (row % LAYERS) % 4 === 0;
    for (let slot = 0; slot < K; slot++) {
      const wanted = prefers && slot < 2 ? order.indexOf(Math.floor(random() * 8)) : 0;
      const other = wanted >= slot && prefers && slot < 2 ? wanted : slot + Math.floor(random() * (EXPERTS - slot));
      [order[slot], order[other]] = [order[other], order[slot]];
      experts[row * K + slot] = order[slot];
    }
  }
  const columns = {
    tokenIds: Int32Array.from({ length: tokens }, () => Math.floor(random() * 150_000)),
    positions: Int32Array.from({ length: tokens }, (_, position) => position),
    origins: new Uint8Array(tokens),
    segments: new Int32Array(tokens).fill(1),
    computed: new Uint8Array(tokens).fill(1),
    keys: new Int32Array(tokens),
    topkExperts: experts,
    topkWeights: Float32Array.from({ length: rows * K }, () => random() / K),
    sharedGate: new Float32Array(rows).fill(0.5),
    margin: Float32Array.from({ length: rows }, random),
    intervened: new Uint8Array(rows),
    routerLogits: new Float32Array(0),
  };
  const layout = {
    metadata: METADATA,
    level: "topk",
    topK: K,
    layers: METADATA.moeLayers,
    segments: ["prefix", "question"],
  };
  const keys = [{ run: "synthetic", task: `domain-${sample % 2}`, sampleId: String(sample), epoch: 0, request: 0 }];
  return new RouterTrace({ layout, keys, columns });
}

async function analyse() {
  const load = new RoutingLoad();
  const all = [load, new Coactivation(), new LayerTransitions(), new AdjacentTokens(), new RouteMargins()];
  await analyze(readTraces(folder), all);
  log(
    `load, co-activation, transitions, neighbours and margins of ${load.documents.length} samples, ${load.tokens()} tokens`,
  );
  specialise(load);
}

function specialise(load) {
  const special = new Specialization(load, ({ task }) => task);
  const chance = special.permutationNull({ permutations: 99 });
  const real = chance.pValue.filter((p) => p <= 0.01).length;
  log(`specialisation by domain with 99 permutations: ${real} of ${LAYERS} layers (7 were planted)`);
}

async function sql() {
  const database = await TraceDatabase.open(folder, { memoryLimit: "1GB", threads: 2 });
  const [row] = await database.query("SELECT count(*)::DOUBLE AS rows FROM trace");
  log(`${row.rows} rows in DuckDB`);
  const load = await sqlLoad(database);
  log(`load of ${load.documents.length} samples`);
  specialise(load);
  for (const sum of [sqlCoactivation, sqlTransitions, sqlAdjacentTokens, sqlMargins]) {
    await sum(database);
    log(sum.name);
  }
  database.close();
}

/** Numbers in [0, 1) (mulberry32). */
function generator(seed) {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
