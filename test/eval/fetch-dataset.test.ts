import { createHash } from "node:crypto";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gunzipSync, gzipSync } from "node:zlib";
import { tableFromArrays } from "apache-arrow";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { type DatasetSource, type FetchOptions, fetchDataset, MoescopeError } from "../../src/index.js";
import { tableToParquet } from "../../src/router/parquet.js";
import { type FileServer, startFileServer } from "../hub/file-server.js";
import { tarOf } from "./tar-archive.js";

const sha256 = (...parts: (string | Buffer)[]): string =>
  parts.reduce((hash, part) => hash.update(part), createHash("sha256")).digest("hex");
const newRoot = (): string => mkdtempSync(join(tmpdir(), "moescope-data-"));
const HUB = { repo: "us/toy", revision: "main" };

let server: FileServer;
const HF_ENDPOINT = process.env.HF_ENDPOINT;
beforeAll(async () => {
  server = await startFileServer();
});
afterAll(() => server.close());
afterEach(() => {
  if (HF_ENDPOINT === undefined) delete process.env.HF_ENDPOINT;
  else process.env.HF_ENDPOINT = HF_ENDPOINT;
  server.files.clear();
  server.asked.length = 0;
});

async function fetched(part: Partial<DatasetSource["parts"][number]>, options: FetchOptions = {}) {
  process.env.HF_ENDPOINT = `${server.url}/`;
  const root = newRoot();
  const whole = { path: "toy/rows", sha256: "", from: [{ ...HUB, file: "rows" }], ...part };
  const source = { title: "Toy", licence: "none", parts: [whole] };
  const result = await fetchDataset(source, root, { backoffMs: 1, retries: 0, ...options }).catch(
    (error: unknown) => error,
  );
  return { root, source, result };
}

describe("fetchDataset", () => {
  it("brings a file from the mirror that HF_ENDPOINT names, with the commit it is of", async () => {
    server.files.set("/datasets/us/toy/resolve/main/rows", Buffer.from("rows"));
    const { root, source, result } = await fetched({ sha256: sha256("rows") });
    const url = `${server.url}/datasets/us/toy/resolve/main/rows`;
    expect(result).toEqual([{ path: "toy/rows", sha256: sha256("rows"), isPinned: true, url, commit: "c0ffee" }]);
    expect(readFileSync(join(root, "toy/rows"), "utf8")).toBe("rows");
    expect(readdirSync(join(root, "toy"))).toEqual(["rows"]);
    expect(await fetchDataset(source, root)).toEqual([{ path: "toy/rows", sha256: sha256("rows"), isPinned: true }]);
    expect(server.asked).toHaveLength(1);
  });

  it("refuses other content, there or fetched, unless it is wanted", async () => {
    server.files.set("/datasets/us/toy/resolve/main/rows", Buffer.from("other"));
    const { root, result } = await fetched({ sha256: sha256("rows") });
    expect(result).toMatchObject({ code: "BAD_FILE", message: expect.stringContaining(`got ${sha256("other")}.`) });
    expect(readdirSync(join(root, "toy"))).toEqual([]);
    const unpinned = await fetched({ sha256: sha256("rows") }, { unpinned: true });
    expect(unpinned.result).toMatchObject([{ isPinned: false, sha256: sha256("other") }]);
    await expect(fetchDataset(unpinned.source, unpinned.root)).rejects.toThrow("remove it to fetch it again.");
  });

  it("takes two folders out of one archive that is fetched once", async () => {
    const tar = tarOf({
      "data/dev/b.csv": "B",
      "data/dev/a.csv": "A",
      "data/dev/._a.csv": "x",
      "data/test/a.csv": "T",
    });
    server.files.set("/datasets/us/toy/resolve/main/data.tar", tar);
    process.env.HF_ENDPOINT = server.url;
    const from = [{ ...HUB, file: "data.tar" }];
    const part = (name: string, hash: string) => ({ path: `toy/${name}`, folder: `data/${name}`, sha256: hash, from });
    const parts = [part("dev", sha256("A", "B")), part("test", sha256("T"))];
    const root = newRoot();
    const result = await fetchDataset({ title: "Toy", licence: "none", parts }, root);
    expect(result.map(({ isPinned }) => isPinned)).toEqual([true, true]);
    expect(server.asked).toHaveLength(1);
    expect([readdirSync(join(root, "toy")), readdirSync(join(root, "toy/dev"))]).toEqual([
      ["dev", "test"],
      ["a.csv", "b.csv"],
    ]);
  });

  it("writes a Parquet file as the lines that the authors published", async () => {
    const rows = { answer: ["#### 1", '"é" \\ \u2019\n\u{1F600}\x7f\x1f'], question: ["q", "r"] };
    server.files.set("/datasets/us/toy/resolve/main/p", Buffer.from(await tableToParquet(tableFromArrays(rows))));
    const lines =
      '{"question": "q", "answer": "#### 1"}\n' +
      '{"question": "r", "answer": "\\"\\u00e9\\" \\\\ \\u2019\\n\\ud83d\\ude00\x7f\\u001f"}\n';
    const from = [{ ...HUB, file: "p", jsonlOf: ["question", "answer"] }];
    const plain = await fetched({ from, sha256: sha256(lines) });
    expect(readFileSync(join(plain.root, "toy/rows"), "utf8")).toBe(lines);
    const zipped = await fetched({ from, path: "toy/rows.jsonl.gz", sha256: sha256(lines) });
    expect(gunzipSync(readFileSync(join(zipped.root, "toy/rows.jsonl.gz"))).toString()).toBe(lines);
  });

  it("goes on to the next place where one has nothing, or something else", async () => {
    server.files.set("/authors", gzipSync("rows"));
    server.files.set("/datasets/us/toy/resolve/main/wrong", gzipSync("worse"));
    const from = [{ ...HUB, file: "missing" }, { ...HUB, file: "wrong" }, { url: `${server.url}/authors` }];
    const { result } = await fetched({ from, path: "toy/rows.gz", sha256: sha256("rows") });
    expect(result).toMatchObject([{ isPinned: true, url: `${server.url}/authors` }]);
  });

  it("says in one sentence that the machine is offline, and what can be done", async () => {
    process.env.HF_ENDPOINT = "http://127.0.0.1:9";
    const parts = [{ path: "toy/rows", sha256: "", from: [{ ...HUB, file: "rows" }, { url: "http://127.0.0.1:9/x" }] }];
    const root = newRoot();
    const error = await fetchDataset({ title: "Toy", licence: "none", parts }, root, { retries: 0 }).catch((e) => e);
    expect(error).toBeInstanceOf(MoescopeError);
    expect([error.code, error.message]).toEqual([
      "NETWORK",
      `Could not reach 127.0.0.1:9 or 127.0.0.1:9 for Toy: this machine seems to be offline; bring toy/rows by other means into ${root}, or name a mirror of the hub in HF_ENDPOINT.`,
    ]);
  });

  it.each(["", "data", "x".repeat(2000)])("refuses an archive that is none", async (text) => {
    server.files.set("/datasets/us/toy/resolve/main/rows", Buffer.from(text));
    const { result } = await fetched({ folder: "data/dev", sha256: sha256("A") });
    expect(result).toMatchObject({ code: "BAD_FILE" });
  });

  it("leaves what is there alone when something else has its place", async () => {
    const root = newRoot();
    mkdirSync(join(root, "toy"));
    writeFileSync(join(root, "toy/rows"), "mine");
    const parts = [{ path: "toy/rows", sha256: sha256("rows"), from: [{ ...HUB, file: "rows" }] }];
    await expect(fetchDataset({ title: "Toy", licence: "none", parts }, root)).rejects.toThrow("remove it");
    expect(readFileSync(join(root, "toy/rows"), "utf8")).toBe("mine");
  });
});
