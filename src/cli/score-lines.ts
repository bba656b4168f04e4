/** The lines that `moescope score` reads: one request as JSON each. */
import type { Readable } from "node:stream";
import { z } from "zod";
import { fromSystemError, InvalidArgumentError } from "../errors.js";
import type { LikelihoodRequest } from "../model/likelihood.js";
import { readLines } from "./lines.js";

/** What one call of the model gets at most, so that memory does not grow with the file. */
const WINDOW_REQUESTS = 256;
const WINDOW_CHARACTERS = 4_000_000;

/** A request with its place in the file. */
export interface RequestLine {
  id: unknown;
  number: number;
  request: LikelihoodRequest;
}

const message = z.looseObject({ role: z.string() });
const tokenIds = z.array(z.int().min(0)).min(1);
const FORMS = z.union([
  z.looseObject({ context: z.union([z.string(), z.array(message)]), continuation: z.string() }),
  z.looseObject({ contextIds: tokenIds, continuationIds: tokenIds }),
]);
const EXPECTED = "{id, context, continuation} or {id, contextIds, continuationIds}";

/** Groups of lines, in order. Throws INVALID_ARGUMENT at the first line that is no request, after those before it were given out. */
export async function* requestWindows(source: Readable, name: string): AsyncGenerator<RequestLine[]> {
  let window: RequestLine[] = [];
  let characters = 0;
  let number = 0;
  let fault: unknown;
  try {
    for await (const text of readLines(source)) {
      number++;
      if (text.trim() === "") continue;
      window.push(parseRequestLine(text, number, name));
      characters += text.length;
      if (window.length < WINDOW_REQUESTS && characters < WINDOW_CHARACTERS) continue;
      yield window;
      window = [];
      characters = 0;
    }
  } catch (error) {
    fault = error;
  }
  if (window.length > 0) yield window;
  if (fault !== undefined) throw fromSystemError(fault, `read the requests ${name}`);
}

export function parseRequestLine(text: string, number: number, name: string): RequestLine {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new InvalidArgumentError(`Expected JSON in line ${number} of ${name}: ${(cause as Error).message}.`, {
      cause,
    });
  }
  const parsed = FORMS.safeParse(value);
  if (!parsed.success) {
    throw new InvalidArgumentError(
      `Expected ${EXPECTED} in line ${number} of ${name}, got ${text.trim().slice(0, 80)}.`,
    );
  }
  return { id: (value as { id?: unknown }).id ?? null, number, request: parsed.data };
}
