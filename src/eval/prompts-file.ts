import { randomBytes } from "node:crypto";
import { createReadStream, createWriteStream } from "node:fs";
import { rename, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { createGunzip, createGzip } from "node:zlib";
import { fromSystemError, MoescopeError } from "../errors.js";
import type { LoadedTask, SampleRequest, Task } from "./task.js";

/**
 * The prompts of a finished run, for people: `prompts.jsonl.gz`, one line per sample. They follow from the tasks alone, so rows hold
 * their hash only, and no digest rests on this file. Worked examples repeat from line to line, which gzip takes out.
 */
export const PROMPTS_FILE = "prompts.jsonl.gz";

export interface PromptLine {
  task: string;
  sample_id: string;
  /** The first request's; a conversation is written out turn by turn. */
  prompt: string;
}

/** Writes the prompts of all samples. The file appears whole or not at all. @throws MoescopeError DISK_FULL, NO_PERMISSION */
export async function writePrompts(
  folder: string,
  tasks: readonly { task: Task; loaded: LoadedTask }[],
): Promise<void> {
  const file = join(folder, PROMPTS_FILE);
  const temporary = `${file}.${randomBytes(4).toString("hex")}`;
  try {
    await pipeline(Readable.from(linesOf(tasks)), createGzip({ level: 4 }), createWriteStream(temporary));
    await rename(temporary, file);
  } catch (error) {
    await rm(temporary, { force: true });
    throw fromSystemError(error, `write ${file}`);
  }
}

/** Gives every prompt of a folder to `onLine`; none where the file is missing. @throws MoescopeError BAD_FILE */
export async function readPrompts(folder: string, onLine: (line: PromptLine) => void): Promise<void> {
  const file = join(folder, PROMPTS_FILE);
  const isThere = await stat(file).then(
    () => true,
    () => false,
  );
  if (!isThere) return;
  const source = createReadStream(file);
  const unzipped = source.pipe(createGunzip());
  source.on("error", (error) => unzipped.destroy(error));
  try {
    for await (const line of createInterface({ input: unzipped, crlfDelay: Number.POSITIVE_INFINITY })) {
      onLine(JSON.parse(line) as PromptLine);
    }
  } catch (error) {
    throw new MoescopeError("BAD_FILE", `Expected prompts in ${file}: ${(error as Error).message}.`, { cause: error });
  }
}

function* linesOf(tasks: readonly { task: Task; loaded: LoadedTask }[]): Generator<string> {
  for (const { task, loaded } of tasks) {
    for (const sample of loaded.samples) {
      const [request] = loaded.requests(sample);
      const line: PromptLine = {
        task: task.name,
        sample_id: sample.id,
        prompt: request === undefined ? "" : textOf(request),
      };
      yield `${JSON.stringify(line)}\n`;
    }
  }
}

function textOf(request: SampleRequest): string {
  const prompt =
    request.kind === "generate" ? request.prompt : request.kind === "chat" ? request.messages : request.context;
  if (typeof prompt === "string") return prompt;
  return prompt.map(({ role, content }) => `[${role}]\n${content}`).join("\n\n");
}
