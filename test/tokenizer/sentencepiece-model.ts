import { readFileSync } from "node:fs";
import type { GgufTokenizerMetadata } from "../../src/tokenizer/gguf-tokens.js";

/**
 * Reads a SentencePiece .model file (protobuf: field 1 of ModelProto, repeated, holds piece = 1, score = 2, type = 3) as the
 * GGUF metadata that llama.cpp's converter would write from it.
 */
export function readSentencePieceModel(path: string): GgufTokenizerMetadata {
  const bytes = readFileSync(path);
  const pieces: { text: string; score: number; type: number }[] = [];
  for (const field of fields(bytes)) {
    if (field.number !== 1 || !(field.value instanceof Uint8Array)) continue;
    const piece = { text: "", score: 0, type: 1 };
    for (const { number, value } of fields(Buffer.from(field.value))) {
      if (number === 1) piece.text = Buffer.from(value as Uint8Array).toString("utf8");
      else if (number === 2) piece.score = Buffer.from(value as Uint8Array).readFloatLE(0);
      else if (number === 3) piece.type = value as number;
    }
    pieces.push(piece);
  }
  return {
    model: "llama",
    tokens: pieces.map(({ text }) => text),
    scores: pieces.map(({ score }) => score),
    tokenTypes: pieces.map(({ type }) => type),
    bosTokenId: 1,
    eosTokenId: 2,
    unknownTokenId: 0,
  };
}

function* fields(bytes: Buffer): Generator<{ number: number; value: number | Uint8Array }> {
  let position = 0;
  const varint = (): number => {
    let value = 0;
    for (let scale = 1; ; scale *= 128) {
      const byte = bytes[position++]!;
      value += (byte & 127) * scale;
      if (byte < 128) return value;
    }
  };
  while (position < bytes.length) {
    const tag = varint();
    const number = Math.floor(tag / 8);
    const wire = tag % 8;
    if (wire === 0) yield { number, value: varint() };
    else {
      const length = wire === 2 ? varint() : wire === 5 ? 4 : 8;
      yield { number, value: bytes.subarray(position, position + length) };
      position += length;
    }
  }
}
