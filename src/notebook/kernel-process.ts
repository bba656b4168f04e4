/** How a kernel is started: the same command in the kernelspec, in `moescope notebook run` and in tests. */
import { join } from "node:path";
import { packageRoot } from "../native/addon.js";

/** Space for new objects, in MB. The compiler fills whatever it is given with programs of a cell that nobody needs any more. */
const NEW_SPACE_MB = 8;

/** Program and arguments; the last one stands for the connection file. */
export function kernelCommand(connectionFile: string): string[] {
  const main = join(packageRoot(), "dist", "src", "notebook", "kernel-main.js");
  // Cells are CommonJS and packages ES modules: Node's warning about that would stand in the first cell of every notebook.
  const flags = ["--disable-warning=ExperimentalWarning", `--max-semi-space-size=${NEW_SPACE_MB}`];
  return [process.execPath, ...flags, main, connectionFile];
}
