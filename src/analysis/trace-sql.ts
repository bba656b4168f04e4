/** The accumulators' sums in SQL, each over the tokens of a subset. Same results as `analyze`, from files that memory cannot hold. */

import { InvalidArgumentError } from "../errors.js";
import type { TokenSubset } from "./accumulator.js";
import { AdjacentTokens } from "./adjacent-tokens.js";
import { Coactivation } from "./coactivation.js";
import { LayerTransitions } from "./layer-transitions.js";
import { KEPT_MARGINS, NEAR, RouteMargins } from "./route-margins.js";
import { RouterConfidence } from "./router-confidence.js";
import { RoutingLoad } from "./routing-load.js";
import type { SqlRow, TraceDatabase } from "./trace-database.js";
import { type VocabularyId, VocabularySpecialization } from "./vocabulary.js";

/**
 * Expert load and gate mass by document, one file after another: a file's (document, layer, expert) are few enough for any memory, where
 * those of all files are not. A document may go on in another file.
 */
export async function sqlLoad(database: TraceDatabase, subset: TokenSubset = {}): Promise<RoutingLoad> {
  const { sums, where, layerAt, width, numExperts } = await prepared(database, subset);
  const counts: Uint32Array[] = [];
  const gateMass: Float64Array[] = [];
  for (let part = 0; part < database.numParts; part++) {
    const batches = database.columns(
      `SELECT document, layer, expert, count(*)::DOUBLE, sum(weight::DOUBLE) FROM routes WHERE part = ${part} AND ${where} GROUP BY ALL`,
    );
    for await (const [documents, layers, experts, numbers, masses] of batches) {
      for (const [row, document] of documents!.entries()) {
        const d = Number(document);
        counts[d] ??= new Uint32Array(width);
        gateMass[d] ??= new Float64Array(width);
        const slot = layerAt(layers![row]) * numExperts + Number(experts![row]);
        counts[d]![slot]! += Number(numbers![row]);
        gateMass[d]![slot]! += Number(masses![row]);
      }
    }
  }
  return RoutingLoad.fromSums(sums, { counts, gateMass });
}

/** Experts of the same token. */
export async function sqlCoactivation(database: TraceDatabase, subset: TokenSubset = {}): Promise<Coactivation> {
  const { sums, where, layerAt, width, numExperts } = await prepared(database, subset);
  const matrix = new Float64Array(width * numExperts);
  const rows = byPart(database, (part) => {
    const first = `SELECT layer, unnest(topk_experts) AS a, topk_experts AS others FROM trace WHERE ${part} AND ${where}`;
    return `SELECT layer, a, b, count(*)::DOUBLE AS n FROM (SELECT layer, a, unnest(others) AS b FROM (${first})) WHERE a <> 65535 AND b <> 65535 GROUP BY ALL`;
  });
  for await (const { layer, a, b, n } of rows) {
    matrix[(layerAt(layer) * numExperts + Number(a)) * numExperts + Number(b)]! += Number(n);
  }
  return Coactivation.fromSums(sums, matrix);
}

/** Where tokens go in the next MoE layer. */
export async function sqlTransitions(database: TraceDatabase, subset: TokenSubset = {}): Promise<LayerTransitions> {
  const { sums, where, layerAt, numLayers, numExperts } = await prepared(database, subset);
  // A token's rows stand side by side, the next layer's behind the layer's own.
  const next = (part: string) =>
    `SELECT layer, here, there FROM (SELECT layer, topk_experts AS here, lead(topk_experts) OVER (PARTITION BY token ORDER BY layer) AS there
       FROM trace WHERE ${part} AND ${where}) WHERE there IS NOT NULL`;
  const tableOf = async (sqlOf: (part: string) => string) => {
    const table = new Float64Array(Math.max(0, numLayers - 1) * numExperts * numExperts);
    for await (const { layer, a, b, n } of byPart(database, sqlOf)) {
      table[(layerAt(layer) * numExperts + Number(a)) * numExperts + Number(b)]! += Number(n);
    }
    return table;
  };
  const top1 = await tableOf(
    (part) => `SELECT layer, here[1] AS a, there[1] AS b, count(*)::DOUBLE AS n FROM (${next(part)}) GROUP BY ALL`,
  );
  const full = await tableOf((part) => {
    const all = `SELECT layer, a, unnest(there) AS b FROM (SELECT layer, unnest(here) AS a, there FROM (${next(part)}))`;
    return `SELECT layer, a, b, count(*)::DOUBLE AS n FROM (${all}) WHERE a <> 65535 AND b <> 65535 GROUP BY ALL`;
  });
  return LayerTransitions.fromSums(sums, { top1, full });
}

/** Routes of neighbouring tokens. */
export async function sqlAdjacentTokens(database: TraceDatabase, subset: TokenSubset = {}): Promise<AdjacentTokens> {
  const { sums, where, layerAt, numLayers, width, numExperts } = await prepared(database, subset);
  const pairs: Float64Array[] = [];
  // The tokens of a sequence are in one file.
  const rows = byPart(
    database,
    (part) =>
      `SELECT document, layer, sum(shared)::DOUBLE AS shared, count_if(shared > 0)::DOUBLE AS any, count_if(here[1] = there[1])::DOUBLE AS same,
         count(*)::DOUBLE AS pairs FROM (SELECT document, layer, here, there,
           len(list_filter(list_intersect(here, there), e -> e <> 65535)) AS shared FROM (
             SELECT document, layer, topk_experts AS here, lead(topk_experts) OVER w AS there, position, lead(position) OVER w AS next,
               token, lead(token) OVER w AS next_token, [request, turn] AS call, lead([request, turn]) OVER w AS next_call
             FROM trace WHERE ${part} AND ${where} WINDOW w AS (PARTITION BY document, layer ORDER BY token))
           WHERE next = position + 1 AND call IS NOT DISTINCT FROM next_call) GROUP BY ALL`,
  );
  for await (const { document, layer, shared, any, same, pairs: n } of rows) {
    const d = Number(document);
    pairs[d] ??= new Float64Array(3 * numLayers + 1);
    const at = 3 * layerAt(layer);
    for (const [i, value] of [shared, any, same].entries()) pairs[d]![at + i]! += Number(value);
    // The same number in every layer.
    if (at === 0) pairs[d]![3 * numLayers]! += Number(n);
  }
  const counts = new Float64Array(width);
  const used = await database.query(
    `SELECT layer, expert, count(*)::DOUBLE AS n FROM routes WHERE ${where} GROUP BY ALL`,
  );
  for (const { layer, expert, n } of used) counts[layerAt(layer) * numExperts + Number(expert)] = Number(n);
  return AdjacentTokens.fromSums(sums, { pairs, counts });
}

/** First choices by token id. */
export async function sqlVocabulary(
  database: TraceDatabase,
  by: VocabularyId,
  subset: TokenSubset = {},
): Promise<VocabularySpecialization> {
  const { sums, where, layerAt, width, numExperts } = await prepared(database, subset);
  const input = (part: string) =>
    `SELECT token_id AS id, layer, topk_experts[1] AS expert FROM trace WHERE ${part} AND ${where}`;
  // The next token is that of the whole sequence, whatever the subset is.
  const following = (part: string) =>
    `SELECT next_id AS id, layer, expert FROM (SELECT layer, topk_experts[1] AS expert, segment, origin, position,
      lead(token_id) OVER w AS next_id, lead(position) OVER w AS next, [request, turn] AS call, lead([request, turn]) OVER w AS next_call
    FROM trace WHERE ${part} WINDOW w AS (PARTITION BY document, layer ORDER BY token))
    WHERE next = position + 1 AND call IS NOT DISTINCT FROM next_call AND ${where}`;
  const rows = byPart(database, (part) => {
    const first = by === "input" ? input(part) : following(part);
    return `SELECT id, layer, expert, count(*)::DOUBLE AS n FROM (${first}) WHERE expert < ${numExperts} GROUP BY ALL`;
  });
  const counts = new Map<number, Uint32Array>();
  for await (const { id, layer, expert, n } of rows) {
    const row = counts.get(Number(id)) ?? new Uint32Array(width);
    counts.set(Number(id), row);
    row[layerAt(layer) * numExperts + Number(expert)]! += Number(n);
  }
  return VocabularySpecialization.fromSums(sums, by, counts);
}

/** How sure the router was. Throws INVALID_ARGUMENT for traces without logits. */
export async function sqlConfidence(database: TraceDatabase, subset: TokenSubset = {}): Promise<RouterConfidence> {
  const { sums, where, layerAt, numLayers, width, numExperts } = await prepared(database, subset);
  if (!database.hasLogits)
    throw new InvalidArgumentError("Expected traces at level logits or hidden, got some at level topk.");
  const probabilities = `SELECT document, token, layer, topk_experts, list_transform(z, x -> exp(x - largest) / total) AS p, largest + ln(total) AS norm, z FROM (
      SELECT *, list_sum(list_transform(z, x -> exp(x - largest))) AS total FROM (
        SELECT document, token, layer, topk_experts, list_transform(router_logits, x -> x::DOUBLE) AS z, list_max(router_logits)::DOUBLE AS largest
        FROM trace WHERE ${where}))`;
  const rows = await database.query(
    `SELECT document, layer, sum((norm - list_sum(list_transform(p, (x, i) -> CASE WHEN x > 0 THEN x * z[i] ELSE 0 END))) / ln(${numExperts})) AS entropy,
       sum(list_sum(list_transform(list_filter(topk_experts, e -> e <> 65535), e -> p[e + 1]))) AS mass, sum(norm * norm) AS square
     FROM (${probabilities}) GROUP BY ALL`,
  );
  const figures: Float64Array[] = [];
  for (const { document, layer, entropy, mass, square } of rows) {
    const d = Number(document);
    figures[d] ??= new Float64Array(3 * numLayers);
    figures[d]!.set([Number(entropy), Number(mass), Number(square)], 3 * layerAt(layer));
  }
  const probabilitySums = new Float64Array(width);
  const summed = await database.query(
    `SELECT layer, expert, sum(x) AS total FROM (SELECT layer, unnest(p) AS x, unnest(range(${numExperts})) AS expert FROM (${probabilities})) GROUP BY ALL`,
  );
  for (const { layer, expert, total } of summed)
    probabilitySums[layerAt(layer) * numExperts + Number(expert)] = Number(total);
  return RouterConfidence.fromSums(sums, { figures, probabilitySums });
}

/** Margins, with quantiles of all of them, or beyond 262,144 tokens of a random sample of that many. */
export async function sqlMargins(
  database: TraceDatabase,
  { near = NEAR, ...subset }: TokenSubset & { near?: number } = {},
): Promise<RouteMargins> {
  const { sums, where, layerAt, numLayers } = await prepared(database, subset);
  const { numExperts, numExpertsPerToken: k } = database.shape;
  const ofLogits = k < numExperts ? `(sorted[${k}] - sorted[${k + 1}])` : "'Infinity'::DOUBLE";
  const margins = database.hasLogits
    ? `SELECT document, token, layer, CASE WHEN intervened THEN margin::DOUBLE ELSE ${ofLogits} END AS margin FROM (
         SELECT document, token, layer, intervened, margin, list_reverse_sort(list_transform(router_logits, x -> x::DOUBLE)) AS sorted FROM trace WHERE ${where})`
    : `SELECT document, token, layer, margin::DOUBLE AS margin FROM trace WHERE ${where}`;
  const rows = await database.query(
    `SELECT document, layer, sum(margin) AS total, count_if(margin = 0)::DOUBLE AS ties, count_if(margin < ${near})::DOUBLE AS low FROM (${margins}) GROUP BY ALL`,
  );
  const figures: Float64Array[] = [];
  for (const { document, layer, total, ties, low } of rows) {
    const d = Number(document);
    figures[d] ??= new Float64Array(3 * numLayers);
    figures[d]!.set([Number(total), Number(ties), Number(low)], 3 * layerAt(layer));
  }
  const kept: Float64Array[] = [];
  for (const layer of database.shape.layers) {
    const values = await database.query(
      `SELECT margin FROM (SELECT margin FROM (${margins}) WHERE layer = ${layer}) USING SAMPLE reservoir(${KEPT_MARGINS} ROWS) REPEATABLE (0)`,
    );
    kept.push(Float64Array.from(values, ({ margin }) => Number(margin)));
  }
  return RouteMargins.fromSums(sums, near, { figures, kept });
}

/**
 * The rows of a query that groups, of one file after another: the caller adds them up. What one file takes, DuckDB can always hold; `part`
 * is the condition that confines a query to a file.
 */
async function* byPart(database: TraceDatabase, sqlOf: (part: string) => string): AsyncGenerator<SqlRow> {
  for (let part = 0; part < database.numParts; part++) yield* await database.query(sqlOf(`part = ${part}`));
}

async function prepared(database: TraceDatabase, subset: TokenSubset) {
  await database.checkSubset(subset);
  const { layers, numExperts } = database.shape;
  return {
    sums: await database.documentSums(subset),
    where: database.whereOf(subset),
    layerAt: (layer: SqlRow[string] | undefined): number => layers.indexOf(Number(layer)),
    ...{ numLayers: layers.length, numExperts, width: layers.length * numExperts },
  };
}
