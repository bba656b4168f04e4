/** Notebook files (.ipynb, nbformat 4): read and checked, written whole or not at all, fields that we do not know kept. */
import { readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { fromSystemError, MoescopeError } from "../errors.js";
import type { KernelMessage } from "./client.js";
import type { Content } from "./wire/protocol.js";

export type Output = Content & { output_type: string };

export interface NotebookCell {
  cell_type: string;
  source: string | string[];
  metadata?: { tags?: string[] } & Record<string, unknown>;
  outputs?: Output[];
  execution_count?: number | null;
}

export interface Notebook {
  nbformat: number;
  metadata: { kernelspec?: Content; language_info?: Content } & Content;
  cells: NotebookCell[];
}

/** @throws MoescopeError NOT_FOUND, BAD_FILE for what is no notebook, UNSUPPORTED for one of another language */
export function readNotebook(file: string): Notebook {
  let text: string;
  try {
    text = readFileSync(file, "utf8");
  } catch (error) {
    throw fromSystemError(error, `read ${file}`);
  }
  let notebook: Notebook;
  try {
    notebook = JSON.parse(text) as Notebook;
  } catch (cause) {
    throw new MoescopeError("BAD_FILE", `Expected JSON in ${file}: ${(cause as Error).message}.`, { cause });
  }
  if (notebook?.nbformat !== 4 || !Array.isArray(notebook.cells)) {
    throw new MoescopeError(
      "BAD_FILE",
      `Expected a notebook of format 4 in ${file}, got format ${notebook?.nbformat}.`,
    );
  }
  notebook.metadata ??= {};
  const { kernelspec, language_info } = notebook.metadata;
  const language = String(kernelspec?.language ?? language_info?.name ?? "typescript");
  if (!/^(typescript|javascript)$/i.test(language)) {
    throw new MoescopeError("UNSUPPORTED", `Expected a notebook in TypeScript, got one in ${language}: ${file}.`);
  }
  return notebook;
}

/** Writes the file under another name first: nobody ever finds half of it. */
export function writeNotebook(file: string, notebook: Notebook): void {
  const temporary = `${file}.${process.pid}.tmp`;
  try {
    writeFileSync(temporary, `${JSON.stringify(notebook, null, 1)}\n`);
    renameSync(temporary, file);
  } catch (error) {
    rmSync(temporary, { force: true });
    throw fromSystemError(error, `write ${file}`);
  }
}

export const textOf = (source: string | string[]): string => (Array.isArray(source) ? source.join("") : source);

/** Text as notebook files keep it: a list of lines with their ends. */
const linesOf = (text: string): string[] => text.match(/[^\n]*\n|[^\n]+$/g) ?? [];

/** Outputs of one cell as they come, in the form of the file. */
export class CellOutputs {
  readonly outputs: Output[] = [];
  readonly #displays: Map<string, Output[]>;
  #clearNext = false;

  /** @param displays displays of all cells by their names; an update may reach an earlier cell. */
  constructor(displays: Map<string, Output[]>) {
    this.#displays = displays;
  }

  take({ header: { msg_type }, content }: Pick<KernelMessage, "header" | "content">): void {
    if (msg_type === "clear_output") {
      if (content.wait) this.#clearNext = true;
      else this.outputs.length = 0;
      return;
    }
    const { display_id } = (content.transient ?? {}) as { display_id?: string };
    if (msg_type === "update_display_data") {
      for (const shown of this.#displays.get(display_id ?? "") ?? []) Object.assign(shown, bundleOf(content));
      return;
    }
    const output = outputOf(msg_type, content);
    if (output === undefined) return;
    if (this.#clearNext) this.outputs.length = 0;
    this.#clearNext = false;
    const last = this.outputs.at(-1);
    if (output.output_type === "stream" && last?.output_type === "stream" && last.name === output.name) {
      last.text = linesOf(textOf(last.text as string[]) + textOf(output.text as string[]));
      return;
    }
    this.outputs.push(output);
    if (display_id !== undefined) this.#displays.set(display_id, [...(this.#displays.get(display_id) ?? []), output]);
  }
}

function outputOf(msgType: string, content: Content): Output | undefined {
  switch (msgType) {
    case "stream":
      return { output_type: "stream", name: content.name, text: linesOf(String(content.text)) };
    case "display_data":
      return { output_type: "display_data", ...bundleOf(content) };
    case "execute_result":
      return { output_type: "execute_result", execution_count: content.execution_count, ...bundleOf(content) };
    case "error":
      return { output_type: "error", ename: content.ename, evalue: content.evalue, traceback: content.traceback };
    default:
      return undefined;
  }
}

function bundleOf({ data, metadata }: Content): Content {
  const entries = Object.entries(data as Content).map(([type, value]) => {
    const isText = typeof value === "string" && (type.startsWith("text/") || type === "image/svg+xml");
    return [type, isText ? linesOf(value) : value];
  });
  return { data: Object.fromEntries(entries), metadata: metadata ?? {} };
}
