import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { crc32, deflateRawSync } from "node:zlib";
import { afterAll, describe, expect, it } from "vitest";
import { readZip } from "../../src/eval/zip.js";

const folder = mkdtempSync(join(tmpdir(), "zip-"));
afterAll(() => rmSync(folder, { recursive: true }));

interface Fault {
  /** Declared in place of the true ones. */
  size?: number;
  crc?: number;
  flags?: number;
}

/** A zip archive of deflated files, written by hand so that it can lie. */
function zipOf(files: readonly (readonly [name: string, content: Buffer, fault?: Fault])[]): string {
  const locals: Buffer[] = [];
  const directory: Buffer[] = [];
  let offset = 0;
  for (const [name, content, { size = content.length, crc = crc32(content), flags = 0 } = {}] of files) {
    const packed = deflateRawSync(content);
    const fields = Buffer.alloc(26);
    fields.writeUInt16LE(20, 0);
    fields.writeUInt16LE(flags, 2);
    fields.writeUInt16LE(8, 4);
    fields.writeUInt32LE(crc, 10);
    fields.writeUInt32LE(packed.length, 14);
    fields.writeUInt32LE(size, 18);
    fields.writeUInt16LE(Buffer.byteLength(name), 22);
    const local = Buffer.concat([Buffer.from("PK\x03\x04"), fields, Buffer.from(name), packed]);
    const tail = Buffer.alloc(14);
    tail.writeUInt32LE(offset, 10);
    directory.push(Buffer.concat([Buffer.from("PK\x01\x02"), Buffer.from([20, 0]), fields, tail, Buffer.from(name)]));
    locals.push(local);
    offset += local.length;
  }
  const end = Buffer.alloc(18);
  end.writeUInt16LE(files.length, 4);
  end.writeUInt16LE(files.length, 6);
  end.writeUInt32LE(Buffer.concat(directory).length, 8);
  end.writeUInt32LE(offset, 12);
  const path = join(folder, `${Math.random()}.zip`);
  writeFileSync(path, Buffer.concat([...locals, ...directory, Buffer.from("PK\x05\x06"), end]));
  return path;
}

const all = (): boolean => true;
const hello = Buffer.from("hello");

describe("readZip", () => {
  it("reads the wanted files alone", async () => {
    const path = zipOf([
      ["a/b.csv", hello],
      ["a/", Buffer.alloc(0)],
      ["c.txt", Buffer.alloc(0)],
      ["d", Buffer.from("no")],
    ]);
    const files = await readZip(path, (name) => name !== "d");
    expect([...files].map(([name, bytes]) => [name, bytes.toString()])).toEqual([
      ["a/b.csv", "hello"],
      ["c.txt", ""],
    ]);
  });

  it.each([
    ["a name that climbs out", [["../../etc/passwd", hello]], {}],
    ["an absolute name", [["/etc/passwd", hello]], {}],
    ["a name with backslashes", [["..\\x", hello]], {}],
    [
      "a file that is there twice",
      [
        ["a", hello],
        ["a", hello],
      ],
      {},
    ],
    ["a file that unpacks to more than it says", [["a", Buffer.alloc(1 << 20), { size: 10 }]], {}],
    ["a file that unpacks to less than it says", [["a", hello, { size: 10 }]], {}],
    ["another checksum", [["a", hello, { crc: 1 }]], {}],
    ["encryption", [["a", hello, { flags: 1 }]], {}],
    ["a large file", [["a", Buffer.alloc(1000)]], { maxEntryBytes: 999 }],
    [
      "much in all",
      [
        ["a", Buffer.alloc(600)],
        ["b", Buffer.alloc(600)],
      ],
      { maxTotalBytes: 1000 },
    ],
    [
      "many files",
      [
        ["a", hello],
        ["b", hello],
        ["c", hello],
      ],
      { maxEntries: 2 },
    ],
  ] as const)("refuses %s", async (_, files, limits) => {
    await expect(readZip(zipOf(files), all, limits)).rejects.toMatchObject({
      code: "BAD_FILE",
      message: expect.stringMatching(/^Expected a sound zip archive at .*\.$/s),
    });
  });

  it("refuses a large archive, one that is cut, and one that is not there", async () => {
    const path = zipOf([["a", hello]]);
    await expect(readZip(path, all, { maxArchiveBytes: 10 })).rejects.toThrow(/^Expected at most 10 bytes in /);
    writeFileSync(path, "PK\x03\x04");
    await expect(readZip(path, all)).rejects.toMatchObject({ code: "BAD_FILE" });
    await expect(readZip(join(folder, "absent.zip"), all)).rejects.toMatchObject({ code: "NOT_FOUND" });
  });
});
