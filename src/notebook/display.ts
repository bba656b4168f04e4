/** One way to show something, wherever the code runs: in a cell of the kernel, in plain tslab, or in a terminal. */
import { createRequire } from "node:module";
import { MoescopeError } from "../errors.js";
import { type DisplayMessage, notebookHost } from "./host.js";

/**
 * Shows `message` in the running cell as one output with all its MIME types; its `text/plain` on stdout where there is no notebook. An
 * update in a terminal is printed below what it replaces: a bar that redraws itself is the caller's to draw.
 *
 * @throws MoescopeError INVALID_ARGUMENT where `text/plain` is missing, or `update` has no `displayId`.
 */
export function display(message: DisplayMessage): void {
  const text = message.data["text/plain"];
  if (typeof text !== "string") {
    const got = Object.keys(message.data).join(", ") || "nothing";
    throw new MoescopeError("INVALID_ARGUMENT", `Expected text under text/plain in a display, got ${got}.`);
  }
  if (message.update && message.displayId === undefined) {
    throw new MoescopeError("INVALID_ARGUMENT", "Expected a displayId for a display that updates another, got none.");
  }
  const send = notebookHost()?.display ?? tslabDisplay();
  if (send !== undefined) send(message);
  else process.stdout.write(text.endsWith("\n") ? text : `${text}\n`);
}

/** Whether displays go to a notebook, rich types included. */
export function isNotebook(): boolean {
  return notebookHost() !== undefined || tslabDisplay() !== undefined;
}

/** Takes the output of the running cell away, at once or (`wait`) as soon as new output comes. Does nothing outside our kernel. */
export function clearOutput(wait: boolean = false): void {
  notebookHost()?.clearOutput(wait);
}

/**
 * A line from the person at the front end.
 *
 * @throws MoescopeError UNSUPPORTED outside our kernel, and where the front end takes no input (`moescope notebook run`, nbconvert).
 */
export async function input(prompt: string = "", options: { password?: boolean } = {}): Promise<string> {
  const host = notebookHost();
  if (host === undefined)
    throw new MoescopeError("UNSUPPORTED", "input() asks in a notebook of the moescope kernel only.");
  return host.input(prompt, options.password ?? false);
}

/** What plain tslab gives a cell to display with, and keeps to itself but for its module. */
interface TslabJupyter {
  lastWriteDisplayData?: ((content: object, update: boolean) => void) | null;
}

function tslabDisplay(): NonNullable<ReturnType<typeof notebookHost>>["display"] | undefined {
  const loaded = createRequire(import.meta.url).cache ?? {};
  const file = Object.keys(loaded).find((name) => /[\\/]tslab[\\/]dist[\\/]jupyter\.js$/.test(name));
  const jupyter: TslabJupyter | undefined = file === undefined ? undefined : loaded[file]?.exports;
  const write = jupyter?.lastWriteDisplayData;
  if (!write) return undefined;
  return ({ data, metadata = {}, displayId, update = false }) =>
    write({ data, metadata, transient: displayId === undefined ? {} : { display_id: displayId } }, update);
}
