import { existsSync, mkdtempSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { MoescopeError } from "../../src/errors.js";
import { type DownloadOptions, download } from "../../src/hub/download.js";
import { type FileServer, startFileServer } from "./file-server.js";

const BYTES = Buffer.from(Array.from({ length: 100_000 }, (_, i) => (i * 7 + (i >> 8)) & 255));
let server: FileServer;
let path: string;
beforeAll(async () => {
  server = await startFileServer({ "/file": BYTES });
});
afterAll(() => server.close());
beforeEach(() => {
  path = join(mkdtempSync(join(tmpdir(), "moescope-download-")), "deep", "file");
  server.asked.length = 0;
});

const get = (options: Partial<DownloadOptions> = {}) =>
  download({ url: `${server.url}/file`, path, backoffMs: 1, ...options });

async function failureOf(promise: Promise<unknown>): Promise<[string, string]> {
  const error = await promise.then(
    () => new Error("it succeeded"),
    (reason: unknown) => reason,
  );
  return error instanceof MoescopeError ? [error.code, error.message] : ["not ours", String(error)];
}

const left = (): string[] => (existsSync(join(path, "..")) ? readdirSync(join(path, "..")).sort() : []);

describe("download", () => {
  it("brings a file whole, tells how far it is, and leaves nothing else", async () => {
    const seen: [number, number | undefined][] = [];
    const { commit } = await get({ onProgress: (...progress) => seen.push(progress) });
    expect(readFileSync(path).equals(BYTES)).toBe(true);
    expect([commit, seen.at(-1), left()]).toEqual(["c0ffee", [BYTES.length, BYTES.length], ["file"]]);
  });

  it("goes on where it broke off, and asks for the rest only", async () => {
    server.breakAfter.push(30_000, 20_000);
    await get();
    expect(readFileSync(path).equals(BYTES)).toBe(true);
    const starts = server.asked.map(({ range }) => Number(/\d+/.exec(range ?? "0")![0]));
    expect(starts).toHaveLength(3);
    expect(starts[0]).toBe(0);
    expect(starts[1]).toBeGreaterThan(0);
    expect(starts[2]).toBeGreaterThan(starts[1]!);
  });

  it("goes on in a later call, and begins again where the server has another version", async () => {
    server.breakAfter.push(40_000);
    expect((await failureOf(get({ retries: 0 })))[0]).toBe("NETWORK");
    expect(left()).toEqual(["file.part", "file.part.etag"]);
    await get();
    expect(server.asked[1]!.range).toMatch(/^bytes=[1-9]/);
    expect(readFileSync(path).equals(BYTES)).toBe(true);

    const other = Buffer.from(BYTES).reverse();
    writeFileSync(`${path}.part`, BYTES.subarray(0, 500));
    writeFileSync(`${path}.part.etag`, '"of another version"');
    server.files.set("/file", other);
    await get();
    server.files.set("/file", BYTES);
    expect(readFileSync(path).equals(other)).toBe(true);
  });

  it("begins again where what is there is longer than the file, or of no known version", async () => {
    server.breakAfter.push(10);
    await failureOf(get({ retries: 0 }));
    writeFileSync(`${path}.part`, Buffer.alloc(BYTES.length + 5));
    await get();
    expect(readFileSync(path).equals(BYTES)).toBe(true);
    writeFileSync(`${path}.part`, Buffer.alloc(99));
    await get();
    expect(readFileSync(path).equals(BYTES)).toBe(true);
  });

  it("shows a file only after its check", async () => {
    let isThere = true;
    await get({
      check: async () => {
        isThere = existsSync(path);
      },
    });
    expect(isThere).toBe(false);
    path = `${path}2`;
    const check = () => Promise.reject(new MoescopeError("BAD_FILE", "wrong"));
    expect(await failureOf(get({ check }))).toEqual(["BAD_FILE", "wrong"]);
    expect(left()).not.toContain("file2");
    expect(left()).not.toContain("file2.part");
  });

  it("waits while the server is busy, and gives up with its status", async () => {
    server.statuses.push(503, 429);
    await get();
    expect(server.asked).toHaveLength(3);
    server.statuses.push(500, 500);
    expect(await failureOf(get({ retries: 1 }))).toEqual([
      "NETWORK",
      `Expected a file from ${server.url}/file, got status 500.`,
    ]);
  });

  it.each([
    [404, "NOT_FOUND", "the server has none (status 404)"],
    [401, "NO_PERMISSION", "set HF_TOKEN"],
    [400, "NETWORK", "got status 400"],
  ])("says at once what status %i means", async (status, code, words) => {
    server.statuses.push(status);
    expect(await failureOf(get())).toEqual([code, expect.stringContaining(words)]);
    expect(server.asked).toHaveLength(1);
  });

  it("ends on abort and keeps what has come", async () => {
    const abort = new AbortController();
    server.breakAfter.push(50_000);
    const onProgress = () => abort.abort();
    expect((await failureOf(get({ signal: abort.signal, onProgress })))[0]).toBe("ABORTED");
    expect(left()).toContain("file.part");
  });

  it("names a host that cannot be reached", async () => {
    expect(await failureOf(get({ url: "http://127.0.0.1:9/x", retries: 0 }))).toEqual([
      "NETWORK",
      expect.stringMatching(/^Could not reach 127\.0\.0\.1:9 \(\w+.*\)\.$/),
    ]);
  });
});
