/** A generation on its way to stdout: as text that grows, or as JSON once it is whole. */
import { AbortError } from "../errors.js";
import type { Generation, Sample, StreamChunk } from "../model/generation.js";
import type { Terminal } from "./io.js";

/** What programs read: one text of a generation. */
export interface GenerationJson extends Pick<Sample, "text" | "tokenIds" | "finishReason" | "timing"> {
  usage: Generation["usage"];
  /** What was applied, and where each parameter came from. */
  sampling: Generation["sampling"];
}

/** A text that was cancelled: what there was of it. */
interface CancelledJson {
  text: string;
  tokenIds: number[];
  finishReason: "cancelled";
}

/** Between several texts of one prompt. */
const SEPARATOR = "\n---\n";

/**
 * Prints a generation of `n` texts and returns it. One text is printed as it becomes certain, several at the end. When the work is
 * cancelled, what there is of the texts is printed before the AbortError goes on, with `json` under the finishReason "cancelled".
 */
export async function printGeneration(
  terminal: Terminal,
  stream: AsyncGenerator<StreamChunk, Generation>,
  { json = false, n = 1 }: { json?: boolean; n?: number },
): Promise<Generation> {
  const grows = !json && n === 1;
  const partials = Array.from(
    { length: n },
    (): CancelledJson => ({ text: "", tokenIds: [], finishReason: "cancelled" }),
  );
  try {
    for (let step = await stream.next(); ; step = await stream.next()) {
      if (step.done) {
        await printWhole(terminal, step.value, json);
        return step.value;
      }
      const partial = partials[step.value.sample]!;
      partial.text += step.value.text;
      partial.tokenIds.push(step.value.tokenId);
      if (grows) await terminal.write(step.value.text);
    }
  } catch (error) {
    if (error instanceof AbortError) await printPartial(terminal, partials, json);
    throw error;
  } finally {
    await stream.return(undefined as never);
  }
}

async function printWhole(terminal: Terminal, generation: Generation, json: boolean): Promise<void> {
  const { samples } = generation;
  if (json) await terminal.printJson(generationJson(generation));
  else if (samples.length > 1) await terminal.print(samples.map(({ text }) => text).join(SEPARATOR));
  else await endLine(terminal, samples[0]!.text);
}

async function printPartial(terminal: Terminal, partials: readonly CancelledJson[], json: boolean): Promise<void> {
  if (json) await terminal.printJson(partials.length === 1 ? partials[0] : partials);
  else if (partials.length > 1) await terminal.print(partials.map(({ text }) => text).join(SEPARATOR));
  else if (partials[0]!.text !== "") await endLine(terminal, partials[0]!.text);
}

async function endLine(terminal: Terminal, text: string): Promise<void> {
  if (!text.endsWith("\n")) await terminal.write("\n");
}

/** One object for one text, a list for several. */
function generationJson({ samples, usage, sampling }: Generation): GenerationJson | GenerationJson[] {
  const all = samples.map(({ text, tokenIds, finishReason, timing }): GenerationJson => {
    const ownUsage = { promptTokens: usage.promptTokens, completionTokens: tokenIds.length };
    return { text, tokenIds, finishReason, usage: ownUsage, timing, sampling };
  });
  return all.length === 1 ? all[0]! : all;
}
