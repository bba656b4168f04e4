import { execFile } from "node:child_process";
import { access, constants } from "node:fs/promises";
import { delimiter, join } from "node:path";
import { promisify } from "node:util";

/** Finding a Python and what it needs to run. */

export interface Interpreter {
  /** The interpreter itself, not a script that chooses one. */
  executable: string;
  /** Folders that it is installed in. */
  folders: readonly string[];
  version: string;
}

/** Where Python is looked for when none is named: the caller's own first, then the system's, which other users may read as well. */
export const USUAL_PYTHONS: readonly string[] = ["python3", "/usr/bin/python3", "/usr/local/bin/python3"];

const QUESTION =
  "import json, platform, sys; print(json.dumps([sys.executable, sys.prefix, sys.base_prefix, sys.base_exec_prefix, platform.python_version()]))";

/** Asks a Python about itself; undefined where there is none. */
export async function interpreterOf(command: string): Promise<Interpreter | undefined> {
  try {
    const { stdout } = await promisify(execFile)(command, ["-c", QUESTION], { timeout: 30_000 });
    const [executable, prefix, basePrefix, execPrefix, version] = JSON.parse(stdout) as [string, ...string[]];
    return { executable, folders: [...new Set([prefix!, basePrefix!, execPrefix!])], version: version! };
  } catch {
    return undefined;
  }
}

/** The path of a command; undefined where PATH has none. */
export async function commandOnPath(name: string): Promise<string | undefined> {
  for (const folder of (process.env.PATH ?? "").split(delimiter)) {
    const path = join(folder, name);
    const isThere = await access(path, constants.X_OK).then(
      () => true,
      () => false,
    );
    if (folder !== "" && isThere) return path;
  }
  return undefined;
}
