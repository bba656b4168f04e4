/** stdout and stderr of the process, which go to the cell whose code writes, also from its promises and timers. */
import { type Cell, currentCell } from "./cell.js";

export type StreamName = "stdout" | "stderr";

/** A cell's output is cut here: a browser that is sent more freezes. */
export const OUTPUT_LIMIT_BYTES: number = 32 * 1024 * 1024;

/**
 * Routes writes to `send`, with the cell that they belong to: the one that runs them, or `fallback()` for code that no cell started.
 * Where there is neither, they go where they went before. Output of an interrupted cell ends there.
 */
export function routeStreams(
  send: (cell: Cell, name: StreamName, text: string) => void,
  fallback: () => Cell | undefined,
): void {
  for (const name of ["stdout", "stderr"] as const) {
    const stream = process[name];
    const write = stream.write.bind(stream) as (...values: unknown[]) => boolean;
    const decoder = new TextDecoder();
    stream.write = ((chunk: string | Uint8Array, ...rest: unknown[]): boolean => {
      const cell = currentCell() ?? fallback();
      if (cell === undefined) return write(chunk, ...rest);
      const text = typeof chunk === "string" ? chunk : decoder.decode(chunk, { stream: true });
      if (text !== "" && !cell.isInterrupted && takeRoom(cell, text.length)) send(cell, name, text);
      const done = rest.at(-1);
      if (typeof done === "function") process.nextTick(done as () => void);
      return true;
    }) as typeof stream.write;
  }
}

/** Whether `size` more of output fits into the cell's limit; what does not is counted. */
export function takeRoom(cell: Cell, size: number): boolean {
  if (cell.outputBytes + size > OUTPUT_LIMIT_BYTES) {
    cell.droppedBytes += size;
    return false;
  }
  cell.outputBytes += size;
  return true;
}
