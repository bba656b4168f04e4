/**
 * Traces in DuckDB, straight from their Parquet files: for what is larger than memory and for questions of one's own in SQL. Sums are made
 * in SQL; every figure of them is the accumulators' own, so the results are those in memory.
 *
 * DuckDB is an optional package (68 MB): what nobody asks for is not installed with moescope.
 */

import { readdir } from "node:fs/promises";
import { join } from "node:path";
import type { DuckDBConnection, DuckDBInstance } from "@duckdb/node-api";
import { fromSystemError, InvalidArgumentError, invalidArgument, MoescopeError } from "../errors.js";
import { ORIGINS } from "../router/schema.js";
import type { DocumentKey, DocumentSums, RoutingShape, TokenSubset } from "./accumulator.js";

export interface TraceDatabaseOptions {
  /** Beyond this DuckDB works on the disk; e.g. "1GB", its default. */
  memoryLimit?: string;
  threads?: number;
  /** Where it puts what does not fit; default the system's temporary folder. */
  temporaryFolder?: string;
}

/** A value of a query's answer. */
export type SqlValue = null | boolean | number | bigint | string | SqlValue[] | { [key: string]: SqlValue };

/** One sum by document: the number of the document, and what it belongs to. */
export type SqlRow = Record<string, SqlValue>;

const PART = /^part-(\d+)\.parquet$/;

export class TraceDatabase {
  readonly #instance: DuckDBInstance;
  readonly #connection: DuckDBConnection;
  readonly shape: RoutingShape;
  /** Whether the traces have router logits. */
  readonly hasLogits: boolean;
  /** Number of Parquet files; `part` in the views runs from 0. */
  readonly numParts: number;

  private constructor(
    instance: DuckDBInstance,
    connection: DuckDBConnection,
    { shape, hasLogits, numParts }: { shape: RoutingShape; hasLogits: boolean; numParts: number },
  ) {
    this.#instance = instance;
    this.#connection = connection;
    this.shape = shape;
    this.hasLogits = hasLogits;
    this.numParts = numParts;
  }

  /**
   * Opens the Parquet parts of a trace folder. The views: `trace`, a row for each (token, layer) with the columns of the trace table and
   * `document`, `token` (numbers from 0) and `part` (its file: a condition on it reads that file alone); `documents`, their keys; `routes`,
   * a row for each chosen expert, `slot` from 0.
   *
   * @throws MoescopeError NOT_FOUND for a folder without traces, or where DuckDB is not installed; BAD_FILE for other files.
   */
  static async open(folder: string, options: TraceDatabaseOptions = {}): Promise<TraceDatabase> {
    const files = await partsOf(folder);
    const instance = await createInstance(options);
    const connection = await instance.connect();
    try {
      const layout = await layoutOf(connection, files);
      await createViews(connection, files, layout.shape.layers.length);
      return new TraceDatabase(instance, connection, { ...layout, numParts: files.length });
    } catch (error) {
      connection.closeSync();
      instance.closeSync();
      throw error instanceof MoescopeError ? error : badTraces(folder, error);
    }
  }

  /** Rows of a query of one's own; whole numbers beyond 2^53 come as bigint. Throws INVALID_ARGUMENT with what DuckDB says of bad SQL. */
  async query(sql: string): Promise<SqlRow[]> {
    try {
      return (await this.#connection.runAndReadAll(sql)).getRowObjectsJS() as SqlRow[];
    } catch (error) {
      throw new InvalidArgumentError(`DuckDB refuses the query: ${(error as Error).message.split("\n")[0]}`, {
        cause: error,
      });
    }
  }

  /** The answer's columns, some thousand rows at a time: for answers that memory should not hold as a whole, nor as an object a row. */
  async *columns(sql: string): AsyncGenerator<SqlValue[][]> {
    const result = await this.#connection.stream(sql);
    for (
      let chunk = await result.fetchChunk();
      chunk !== null && chunk.rowCount > 0;
      chunk = await result.fetchChunk()
    ) {
      yield chunk.getColumns() as SqlValue[][];
    }
  }

  /** What every accumulator needs: all documents, and how many tokens of each are in the subset. */
  async documentSums(subset: TokenSubset): Promise<DocumentSums> {
    const rows = await this.query(
      `SELECT d.*, coalesce(t.tokens, 0)::DOUBLE AS tokens FROM documents d LEFT JOIN (SELECT document, count(DISTINCT token) AS tokens
       FROM trace WHERE ${this.whereOf(subset)} GROUP BY document) t USING (document) ORDER BY document`,
    );
    return {
      shape: this.shape,
      documents: rows.map(keyOf),
      tokensOfDocument: rows.map(({ tokens }) => Number(tokens)),
    };
  }

  /** The condition of a subset. Throws INVALID_ARGUMENT for an origin that is none. */
  whereOf({ segment, origin }: TokenSubset): string {
    if (origin !== undefined && !ORIGINS.includes(origin))
      throw invalidArgument("origin", ORIGINS.join(" or "), origin);
    const quote = (text: string) => `'${text.replaceAll("'", "''")}'`;
    const parts = [
      ...(segment === undefined ? [] : [`segment = ${quote(segment)}`]),
      ...(origin === undefined ? [] : [`origin = ${quote(origin)}`]),
    ];
    return parts.length === 0 ? "true" : parts.join(" AND ");
  }

  /** Throws INVALID_ARGUMENT for a segment that the traces do not have. */
  async checkSubset({ segment }: TokenSubset): Promise<void> {
    if (segment === undefined) return;
    const known = (await this.query("SELECT DISTINCT segment FROM trace ORDER BY segment")).map((row) => row.segment);
    if (!known.includes(segment)) throw invalidArgument("segment", `one of ${known.join(", ")}`, segment);
  }

  close(): void {
    this.#connection.closeSync();
    this.#instance.closeSync();
  }
}

async function createInstance({
  memoryLimit = "1GB",
  threads,
  temporaryFolder,
}: TraceDatabaseOptions): Promise<DuckDBInstance> {
  const duckdb = await import("@duckdb/node-api").catch((cause) => {
    throw new MoescopeError(
      "NOT_FOUND",
      "Expected the package @duckdb/node-api to query traces, it is not installed: npm install @duckdb/node-api.",
      { cause },
    );
  });
  return duckdb.DuckDBInstance.create(":memory:", {
    memory_limit: memoryLimit,
    preserve_insertion_order: "false",
    ...(threads !== undefined && { threads: String(threads) }),
    ...(temporaryFolder !== undefined && { temp_directory: temporaryFolder }),
  }).catch((error: Error) => {
    throw invalidArgument("memoryLimit", 'an amount such as "1GB"', `${memoryLimit}: ${error.message}`);
  });
}

async function partsOf(folder: string): Promise<string[]> {
  const names = await readdir(folder).catch((error) => {
    throw fromSystemError(error, `read the trace folder ${folder}`);
  });
  const parts = names.filter((name) => PART.test(name));
  if (parts.length === 0) {
    throw new MoescopeError("NOT_FOUND", `Expected traces (part-00000.parquet) in ${folder}, found none.`);
  }
  const numberOf = (name: string) => Number(PART.exec(name)![1]);
  return parts.sort((a, b) => numberOf(a) - numberOf(b)).map((name) => join(folder, name));
}

async function layoutOf(
  connection: DuckDBConnection,
  files: readonly string[],
): Promise<{ shape: RoutingShape; hasLogits: boolean }> {
  const read = async (sql: string) => (await connection.runAndReadAll(sql)).getRowObjectsJS() as SqlRow[];
  const metadata = await read(
    `SELECT DISTINCT decode(key) AS key, decode(value) AS value FROM parquet_kv_metadata(${listOf(files)})
     WHERE decode(key) IN ('moescope.layers', 'moescope.num_experts', 'moescope.num_experts_per_token', 'moescope.level')`,
  );
  const fieldOf = (name: string): string => {
    const values = metadata.filter(({ key }) => key === `moescope.${name}`).map(({ value }) => String(value));
    if (values.length === 1) return values[0]!;
    if (values.length === 0) throw new Error(`no metadata moescope.${name}`);
    throw new InvalidArgumentError(`Expected traces of one ${name}, got ${values.join(" and ")}.`);
  };
  const shape = {
    layers: JSON.parse(fieldOf("layers")) as number[],
    numExperts: Number(fieldOf("num_experts")),
    numExpertsPerToken: Number(fieldOf("num_experts_per_token")),
  };
  return { shape, hasLogits: fieldOf("level") !== "topk" };
}

/** Rows of a token stand side by side in a file, so a token is its file and its row number over L. */
async function createViews(connection: DuckDBConnection, files: readonly string[], numLayers: number): Promise<void> {
  const part = `CASE filename ${files.map((file, i) => `WHEN ${textOf(file)} THEN ${i}`).join(" ")} END`;
  // What names a document: its sample, or the prefix that samples share, or the file that it stands in.
  const key = ["run", "task", "sample_id", "key_epoch", "key_prefix", "key_part"];
  await connection.run(
    `CREATE VIEW parts AS SELECT *, CASE WHEN sample_id IS NOT NULL THEN epoch END AS key_epoch, CASE WHEN sample_id IS NULL THEN prefix_id END AS key_prefix,
       CASE WHEN sample_id IS NULL AND prefix_id IS NULL THEN part END AS key_part
     FROM (SELECT *, ${part} AS part FROM read_parquet(${listOf(files)}, filename = true, file_row_number = true))`,
  );
  await connection.run(
    `CREATE TABLE documents AS SELECT (row_number() OVER (ORDER BY first_row) - 1)::INTEGER AS document, * EXCLUDE (first_row) FROM (
       SELECT ${key.join(", ")}, min(part * 4294967296 + file_row_number) AS first_row, any_value(epoch) AS epoch, any_value(key_prefix) AS prefix_id
       FROM parts GROUP BY ${key.join(", ")})`,
  );
  const same = key.map((name) => `p.${name} IS NOT DISTINCT FROM d.${name}`).join(" AND ");
  await connection.run(
    `CREATE VIEW trace AS SELECT p.* EXCLUDE (key_epoch, key_prefix, key_part, filename, file_row_number), d.document,
       part * 4294967296 + file_row_number // ${numLayers} AS token
     FROM parts p JOIN documents d ON ${same}`,
  );
  await connection.run(
    `CREATE VIEW routes AS SELECT * EXCLUDE (chosen), chosen.slot AS slot, chosen.expert AS expert, chosen.weight AS weight FROM (
       SELECT part, document, token, position, layer, token_id, origin, segment,
         unnest(list_transform(topk_experts, (e, i) -> {'slot': i - 1, 'expert': e, 'weight': topk_weights[i]})) AS chosen FROM trace)
     WHERE chosen.expert <> 65535`,
  );
}

function textOf(text: string): string {
  return `'${text.replaceAll("'", "''")}'`;
}

function listOf(files: readonly string[]): string {
  return `[${files.map(textOf).join(", ")}]`;
}

function keyOf({ run, task, sample_id: sampleId, epoch, prefix_id: prefixId }: SqlRow): DocumentKey {
  const text = (value: SqlValue | undefined) => (value === null || value === undefined ? undefined : String(value));
  const common = { run: text(run), task: text(task) };
  if (sampleId !== null)
    return { ...common, sampleId: text(sampleId), epoch: epoch === null ? undefined : Number(epoch) };
  return prefixId === null
    ? { ...common, epoch: epoch === null ? undefined : Number(epoch) }
    : { ...common, prefixId: text(prefixId) };
}

function badTraces(folder: string, cause: unknown): MoescopeError {
  const reason = (cause as Error).message.split("\n")[0];
  return new MoescopeError("BAD_FILE", `Expected Parquet files of router traces in ${folder}: ${reason}.`, { cause });
}
