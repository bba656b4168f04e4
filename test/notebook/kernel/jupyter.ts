/** Jupyter of Debian's packages, where it is installed. */
import { spawnSync } from "node:child_process";
import { join } from "node:path";

const PYTHON = "/usr/bin/python3";
const IMPORTS = "import nbclient, nbconvert, nbformat, jupyter_kernel_test";

export const hasJupyter: boolean = spawnSync(PYTHON, ["-c", IMPORTS]).status === 0;
export const WITHOUT_JUPYTER =
  "skipped: Debian's jupyter-client, python3-nbclient, jupyter-nbconvert and python3-jupyter-kernel-test are not installed";

/** Runs Python with the kernels that are installed in `prefix`, for at most `timeout` ms. */
export function python(
  prefix: string,
  args: readonly string[],
  timeout = 170_000,
): { status: number | null; output: string } {
  const env = { ...process.env, JUPYTER_PATH: join(prefix, "share", "jupyter"), JUPYTER_PREFER_ENV_PATH: "0" };
  const { status, stdout, stderr } = spawnSync(PYTHON, args, { encoding: "utf8", env, timeout });
  return { status, output: `${stdout}${stderr}` };
}
