import { MoescopeError } from "../errors.js";

/** The regular files of a tar archive (ustar) in memory whose names `isWanted` takes. Long names of pax and GNU are not: no benchmark has them. */
export function readTar(
  bytes: Uint8Array,
  isWanted: (name: string) => boolean,
  where: string,
): Map<string, Uint8Array> {
  const files = new Map<string, Uint8Array>();
  for (let at = 0; at + BLOCK <= bytes.length && bytes[at] !== 0; ) {
    const header = bytes.subarray(at, at + BLOCK);
    const size = Number.parseInt(textOf(header, 124, 12), 8);
    const sum = Number.parseInt(textOf(header, 148, 8), 8);
    if (sum !== checksum(header) || !Number.isSafeInteger(size) || size < 0 || at + BLOCK + size > bytes.length) {
      throw new MoescopeError("BAD_FILE", `Expected a tar archive in ${where}, byte ${at} is not the head of a file.`);
    }
    const prefix = textOf(header, 257, 5) === "ustar" ? textOf(header, 345, 155) : "";
    const name = (prefix === "" ? "" : `${prefix}/`) + textOf(header, 0, 100);
    const isFile = header[156] === 0 || header[156] === 48;
    if (isFile && isWanted(name)) files.set(name, bytes.subarray(at + BLOCK, at + BLOCK + size));
    at += BLOCK + BLOCK * Math.ceil(size / BLOCK);
  }
  return files;
}

const BLOCK = 512;

function textOf(header: Uint8Array, start: number, length: number): string {
  const field = Buffer.from(header.subarray(start, start + length)).toString("utf8");
  return field.split("\0")[0]!.trim();
}

/** The sum of the header's bytes, its own field counted as blanks. */
function checksum(header: Uint8Array): number {
  return header.reduce((sum, byte, i) => sum + (i >= 148 && i < 156 ? 32 : byte), 0);
}
