import { randomBytes } from "node:crypto";
import { mkdir, readFile, rename, writeFile } from "node:fs/promises";
import { dirname } from "node:path";
import { z } from "zod";
import { fromSystemError, MoescopeError } from "../errors.js";
import { ExpertLoad } from "../router/expert-load.js";

/**
 * Expert load of a run at trace level `counts`: sums by task, without the routes of any one sample. The file is written after every
 * batch; a run that was killed and resumed has computed its last batch twice, and counts what it computed and could write.
 */
export const COUNTS_FILE = "counts.json";

const fileSchema = z.object({
  layers: z.array(z.number().int()),
  numExperts: z.number().int().positive(),
  /** Assignments by task. [layers, numExperts] each. */
  tasks: z.record(z.string(), z.array(z.number().nonnegative())),
});

/** The load that a model has computed since it was loaded. */
export type LoadSource = () => Promise<ExpertLoad>;

/** Adds what a model computes to the counts of a run. */
export class LoadCounts {
  readonly #file: string;
  readonly #source: LoadSource;
  readonly #tasks: Map<string, ExpertLoad>;
  #before: ExpertLoad;

  private constructor(file: string, source: LoadSource, tasks: Map<string, ExpertLoad>, before: ExpertLoad) {
    this.#file = file;
    this.#source = source;
    this.#tasks = tasks;
    this.#before = before;
  }

  /** Goes on with the counts in `file`, if there are any; what the model computed before does not count. */
  static async open(file: string, source: LoadSource): Promise<LoadCounts> {
    return new LoadCounts(file, source, (await readCounts(file)) ?? new Map(), await source());
  }

  /** Counts what the model has computed since the last call for a task. */
  async add(task: string): Promise<void> {
    const now = await this.#source();
    const { layers, numExperts } = now;
    const earlier = this.#tasks.get(task)?.counts;
    const counts = now.counts.map((count, slot) => count - this.#before.counts[slot]! + (earlier?.[slot] ?? 0));
    this.#before = now;
    this.#tasks.set(task, new ExpertLoad(counts, layers, numExperts));
    await this.#write({ layers, numExperts });
  }

  async #write(shape: Pick<ExpertLoad, "layers" | "numExperts">): Promise<void> {
    const tasks = Object.fromEntries([...this.#tasks].map(([name, { counts }]) => [name, Array.from(counts)]));
    const temporary = `${this.#file}.${randomBytes(4).toString("hex")}`;
    try {
      await mkdir(dirname(this.#file), { recursive: true });
      await writeFile(temporary, `${JSON.stringify({ ...shape, tasks })}\n`);
      await rename(temporary, this.#file);
    } catch (error) {
      throw fromSystemError(error, `write ${this.#file}`);
    }
  }
}

/** The counts of a file by task; undefined where there is none. @throws MoescopeError BAD_FILE */
export async function readCounts(file: string): Promise<Map<string, ExpertLoad> | undefined> {
  let text: string;
  try {
    text = await readFile(file, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw fromSystemError(error, `read ${file}`);
  }
  try {
    const { layers, numExperts, tasks } = fileSchema.parse(JSON.parse(text));
    const loads = Object.entries(tasks).map(([name, counts]) => {
      return [name, new ExpertLoad(Float64Array.from(counts), layers, numExperts)] as const;
    });
    return new Map(loads);
  } catch (cause) {
    throw new MoescopeError("BAD_FILE", `Expected expert counts in ${file}: ${(cause as Error).message}.`, { cause });
  }
}
