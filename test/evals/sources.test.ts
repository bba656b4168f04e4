import { mkdtempSync, readdirSync, readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import { tableFromArrays } from "apache-arrow";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { DATASET_SOURCES } from "../../evals/index.js";
import { type DatasetSource, fetchDataset } from "../../src/index.js";
import { tableToParquet } from "../../src/router/parquet.js";
import { shared, skipReason } from "../eval/shared.js";
import { tarOf } from "../eval/tar-archive.js";
import { type FileServer, startFileServer } from "../hub/file-server.js";

/** The official files, served as the hub serves them: what arrives has the pinned content, or nothing arrives. */
describe("benchmarks from a mirror of the hub", () => {
  let server: FileServer;
  const HF_ENDPOINT = process.env.HF_ENDPOINT;
  beforeAll(async () => {
    server = await startFileServer();
    process.env.HF_ENDPOINT = server.url;
  });
  afterAll(async () => {
    if (HF_ENDPOINT === undefined) delete process.env.HF_ENDPOINT;
    else process.env.HF_ENDPOINT = HF_ENDPOINT;
    await server.close();
  });

  const serve = (repo: string, file: string, bytes: Buffer) =>
    server.files.set(`/datasets/${repo}/resolve/main/${file}`, bytes);
  const official = (path: string): Buffer => readFileSync(shared(`data/${path}`));
  /** JSON lines as the Parquet file that the hub makes of them. */
  const parquetOf = async (jsonl: string): Promise<Buffer> => {
    const rows = jsonl
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line) as Record<string, string>);
    const columns = Object.keys(rows[0]!).map((key) => [key, rows.map((row) => row[key]!)]);
    return Buffer.from(await tableToParquet(tableFromArrays(Object.fromEntries(columns))));
  };
  /** Only what the mirror has: the authors' servers are not asked. */
  const fromHub = (name: string): DatasetSource => {
    const source = DATASET_SOURCES[name]!;
    return {
      ...source,
      parts: source.parts.map((part) => ({ ...part, from: part.from.filter((at) => "repo" in at) })),
    };
  };

  it.skipIf(skipReason)(`are the official ones, byte for byte${skipReason}`, { timeout: 120_000 }, async () => {
    for (const split of ["test", "train"]) {
      const parquet = await parquetOf(official(`gsm8k/${split}.jsonl`).toString());
      serve("openai/gsm8k", `main/${split}-00000-of-00001.parquet`, parquet);
    }
    const humaneval = gunzipSync(official("humaneval/HumanEval.jsonl.gz"));
    const parquet = await parquetOf(humaneval.toString());
    serve("openai/openai_humaneval", "openai_humaneval/test-00000-of-00001.parquet", parquet);
    serve("ceval/ceval-exam", "ceval-exam.zip", official("ceval/ceval-exam.zip"));
    const csv = ["test", "dev"].flatMap((split) => {
      return readdirSync(shared(`data/mmlu/${split}`)).map((name) => [
        `data/${split}/${name}`,
        official(`mmlu/${split}/${name}`).toString(),
      ]);
    });
    serve("cais/mmlu", "data.tar", tarOf(Object.fromEntries(csv)));

    const root = mkdtempSync(join(tmpdir(), "moescope-data-"));
    for (const name of Object.keys(DATASET_SOURCES)) {
      const parts = await fetchDataset(fromHub(name), root, { retries: 0 });
      expect(
        parts.every(({ isPinned }) => isPinned),
        name,
      ).toBe(true);
    }
    for (const path of ["gsm8k/test.jsonl", "gsm8k/train.jsonl", "ceval/ceval-exam.zip", "mmlu/dev/virology_dev.csv"]) {
      expect(readFileSync(join(root, path)).equals(official(path)), path).toBe(true);
    }
    expect(gunzipSync(readFileSync(join(root, "humaneval/HumanEval.jsonl.gz"))).equals(humaneval)).toBe(true);
  });
});
