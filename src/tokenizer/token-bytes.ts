import { CheckpointError } from "../errors.js";
import { flatten, type TokenizerJson } from "./tokenizer-json.js";

/** How the pieces of a vocabulary stand for bytes. */
export interface PieceStyle {
  /**
   * "byte-level": each character stands for one byte (GPT-2's printable alphabet).
   * "sentencepiece": UTF-8 text with U+2581 for a space, and `<0xNN>` for single bytes.
   */
  kind: "byte-level" | "sentencepiece";
  /** Whether decoding from the start drops one leading space: the one that encoding puts before the text. */
  stripsLeadingSpace: boolean;
}

const SPACE_MARK = "\u2581";
const BYTE_PIECE = /^<0x([0-9A-Fa-f]{2})>$/;
const encoder = new TextEncoder();

/** GPT-2's alphabet: the character that stands for each byte. 33-126, 161-172, 174-255 stand for themselves, the rest follow from 256. */
export const BYTE_TO_CHAR: readonly string[] = (() => {
  let next = 256;
  return Array.from({ length: 256 }, (_, byte) => {
    const printable = (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
    return String.fromCharCode(printable ? byte : next++);
  });
})();

const CHAR_TO_BYTE: ReadonlyMap<string, number> = new Map(BYTE_TO_CHAR.map((char, byte) => [char, byte]));

/** Reads from a tokenizer.json's decoder how its pieces stand for bytes. Throws UNSUPPORTED, naming a decoder that is not known. */
export function pieceStyleOf(json: TokenizerJson, file: string): PieceStyle {
  const decoders = flatten(json.decoder);
  const types = decoders.map((decoder) => decoder.type);
  if (types.includes("ByteLevel")) return { kind: "byte-level", stripsLeadingSpace: false };
  const unknown = types.find((type) => !["Replace", "ByteFallback", "Fuse", "Strip", "Metaspace"].includes(type));
  if (unknown !== undefined || types.length === 0) {
    throw new CheckpointError(
      "UNSUPPORTED",
      `Expected a ByteLevel, ByteFallback or Metaspace decoder in ${file}, got ${unknown ?? "none"}.`,
    );
  }
  const stripsLeadingSpace = decoders.some(
    (decoder) =>
      (decoder.type === "Strip" && decoder.content === " " && decoder.start === 1) ||
      (decoder.type === "Metaspace" && decoder.prepend_scheme !== "never"),
  );
  return { kind: "sentencepiece", stripsLeadingSpace };
}

/** The bytes that a vocabulary piece stands for. */
export function pieceBytes(piece: string, style: PieceStyle): Uint8Array {
  if (style.kind === "sentencepiece") {
    const byte = BYTE_PIECE.exec(piece);
    return byte ? Uint8Array.of(Number.parseInt(byte[1]!, 16)) : encoder.encode(piece.replaceAll(SPACE_MARK, " "));
  }
  const bytes = new Uint8Array(piece.length);
  for (let i = 0; i < piece.length; i++) {
    const byte = CHAR_TO_BYTE.get(piece[i]!);
    // A piece outside the alphabet is plain text: added tokens that a file keeps in its vocabulary.
    if (byte === undefined) return encoder.encode(piece);
    bytes[i] = byte;
  }
  return bytes;
}
