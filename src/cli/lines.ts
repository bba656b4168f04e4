/** Lines of a stream as they come, without the line feed; a last line needs none. A line of any length is one string. */
import type { Readable } from "node:stream";
import { StringDecoder } from "node:string_decoder";

export async function* readLines(source: Readable): AsyncGenerator<string> {
  const decoder = new StringDecoder("utf8");
  let pieces: string[] = [];
  for await (const chunk of source) {
    const [first, ...others] = (typeof chunk === "string" ? chunk : decoder.write(chunk as Buffer)).split("\n");
    pieces.push(first!);
    for (const piece of others) {
      yield withoutReturn(pieces.join(""));
      pieces = [piece];
    }
  }
  pieces.push(decoder.end());
  const last = pieces.join("");
  if (last !== "") yield withoutReturn(last);
}

function withoutReturn(line: string): string {
  return line.endsWith("\r") ? line.slice(0, -1) : line;
}
