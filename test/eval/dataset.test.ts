import { mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { afterEach, describe, expect, it } from "vitest";
import {
  type DataFolder,
  dataFolder,
  defaultDataFolder,
  readCsv,
  readJsonArray,
  readJsonl,
  requireFiles,
  withStrings,
} from "../../src/index.js";

const root = mkdtempSync(join(tmpdir(), "moescope-data-"));
const folder: DataFolder = { root, dataset: "Toy", howToGet: "curl toy" };
const file = (name: string, content: string | Buffer): string => {
  writeFileSync(join(root, name), content);
  return name;
};
const question = (value: unknown) => withStrings(value, ["q"]);

describe("readCsv", () => {
  it("keeps None, NA, nan and numbers as strings, and quoted commas, quotes and line ends whole", async () => {
    const path = file("a.csv", '\ufeff"a, ""b""\nc",None,NA\r\nnan,1.0,\r\n');
    const { rows, file: info } = await readCsv(folder, path, 3);
    expect(rows).toEqual([
      ['a, "b"\nc', "None", "NA"],
      ["nan", "1.0", ""],
    ]);
    expect(info).toMatchObject({ path: "a.csv", rows: 2 });
    expect(info.sha256).toMatch(/^[0-9a-f]{64}$/);
  });

  it("names the row with another number of cells, and a file that is no CSV", async () => {
    await expect(readCsv(folder, file("b.csv", "a,b\na\n"), 2)).rejects.toThrow(
      `Expected 2 cells in row 2 of ${join(root, "b.csv")}, got 1.`,
    );
    await expect(readCsv(folder, file("c.csv", 'a,"b\n'), 2)).rejects.toMatchObject({ code: "BAD_FILE" });
  });
});

describe("readJsonl", () => {
  it("reads plain and gzipped lines alike", async () => {
    const text = '{"q": "1"}\n\n{"q": "é"}\n';
    const plain = await readJsonl(folder, file("a.jsonl", text), question);
    const zipped = await readJsonl(folder, file("a.jsonl.gz", gzipSync(text)), question);
    expect(plain.rows).toEqual([{ q: "1" }, { q: "é" }]);
    expect(zipped.rows).toEqual(plain.rows);
  });

  it("names the row that is no JSON or has another shape, and a file that is not gzipped", async () => {
    await expect(readJsonl(folder, file("b.jsonl", '{"q": "1"}\n{"q"'), question)).rejects.toThrow(
      /in row 2 of .*b\.jsonl: /,
    );
    await expect(readJsonl(folder, file("c.jsonl", '{"q": 1}'), question)).rejects.toThrow(
      `Expected a row of Toy in row 1 of ${join(root, "c.jsonl")}, got another shape.`,
    );
    await expect(readJsonl(folder, file("d.jsonl.gz", "{}"), question)).rejects.toMatchObject({ code: "BAD_FILE" });
  });
});

describe("readJsonArray", () => {
  it("reads an array and refuses anything else", async () => {
    expect((await readJsonArray(folder, file("a.json", '[{"q": "1"}]'), question)).rows).toEqual([{ q: "1" }]);
    await expect(readJsonArray(folder, file("b.json", "{}"), question)).rejects.toThrow("Expected a JSON array in");
  });
});

describe("the data folder", () => {
  const before = process.env.MOESCOPE_DATA;
  afterEach(() => {
    if (before === undefined) delete process.env.MOESCOPE_DATA;
    else process.env.MOESCOPE_DATA = before;
  });

  it("is the one named, else MOESCOPE_DATA, else the one that `data get` fills", () => {
    process.env.MOESCOPE_DATA = "/from/environment";
    const named = dataFolder("Toy", "toy", "/named here");
    const howToGet = 'moescope data get toy --dir "/named here"';
    expect(named).toEqual({ root: "/named here", dataset: "Toy", howToGet });
    expect(dataFolder("Toy", "toy", undefined).root).toBe("/from/environment");
    delete process.env.MOESCOPE_DATA;
    const { root: usual, howToGet: plain } = dataFolder("Toy", "toy", undefined);
    expect([usual, plain]).toEqual([defaultDataFolder(), "moescope data get toy"]);
  });

  it("names what is missing, and how many more", async () => {
    await expect(requireFiles(folder, ["v", "w", "x", "y", "z"])).rejects.toThrow(
      `Expected the files of Toy in ${root}, v, w, x and 2 more missing; to fetch them: curl toy`,
    );
  });
});
