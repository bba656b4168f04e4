/** `moescope kernel`: the notebook kernel in Jupyter. */
import { type Command, Option } from "commander";
import { MoescopeError } from "../errors.js";
import { diagnose } from "../notebook/doctor.js";
import { installedKernels, installKernelspec, KERNEL_NAME, uninstallKernelspec } from "../notebook/kernelspec.js";
import type { Terminal } from "./io.js";
import { jsonOption } from "./options.js";

interface WhereOptions {
  prefix?: string;
  user?: boolean;
  json?: boolean;
}

export function registerKernel(program: Command, terminal: Terminal): void {
  const kernel = program
    .command("kernel")
    .description("the TypeScript kernel for Jupyter notebooks: install, uninstall, list, doctor")
    .addHelpText("after", "\nExample:\n  $ moescope kernel install && jupyter lab");
  withPlace(kernel.command("install").description("make the kernel known to Jupyter"))
    .addOption(jsonOption("print name and folder as JSON"))
    .action(async ({ prefix, json }: WhereOptions) => {
      const folder = await installKernelspec(prefix);
      if (json) return terminal.printJson({ name: KERNEL_NAME, folder });
      await terminal.print(`Installed the kernel ${KERNEL_NAME} in ${folder}`);
      const isFound = installedKernels().some((found) => found.folder === folder);
      if (!isFound)
        terminal.note(`Jupyter looks there with JUPYTER_PATH=${folder.replace(/[\\/]kernels[\\/][^\\/]*$/, "")}`);
    });
  withPlace(kernel.command("uninstall").description("take the kernel away from Jupyter"))
    .addOption(jsonOption("print name and folder as JSON"))
    .action(async ({ prefix, json }: WhereOptions) => {
      const folder = uninstallKernelspec(prefix);
      if (json) return terminal.printJson({ name: KERNEL_NAME, folder });
      await terminal.print(`Removed ${folder}`);
    });
  kernel
    .command("list")
    .description("the kernels that Jupyter finds")
    .option("--prefix <folder>", "look below this prefix too")
    .addOption(jsonOption("print them as a JSON list"))
    .action(async ({ prefix, json }: WhereOptions) => {
      const kernels = installedKernels(prefix);
      if (json) return terminal.printJson(kernels);
      if (kernels.length === 0) return terminal.print("No kernel is installed.");
      const width = Math.max(...kernels.map(({ name }) => name.length));
      for (const { name, folder, missing } of kernels) {
        const fault = missing.length === 0 ? "" : `  (broken: ${missing[0]} is not there)`;
        await terminal.print(`${name.padEnd(width)}  ${folder}${fault}`);
      }
    });
  kernel
    .command("doctor")
    .description("look for what keeps notebooks from working")
    .option("--prefix <folder>", "look for the kernel below this prefix too")
    .addOption(jsonOption("print the findings as a JSON list"))
    .action((options: WhereOptions) => doctor(terminal, options));
}

function withPlace(command: Command): Command {
  return command
    .addOption(new Option("--prefix <folder>", "below this folder: FOLDER/share/jupyter/kernels").conflicts("user"))
    .option("--user", "for this user alone (default)");
}

async function doctor(terminal: Terminal, { prefix, json }: WhereOptions): Promise<void> {
  const findings = await diagnose({ prefix });
  if (json) await terminal.printJson(findings);
  else {
    for (const { check, isGood, detail } of findings)
      await terminal.print(`${isGood ? "ok " : "BAD"}  ${check.padEnd(11)}  ${detail}`);
  }
  const faults = findings.filter(({ isGood }) => !isGood).map(({ check }) => check);
  if (faults.length > 0)
    throw new MoescopeError("NATIVE_UNAVAILABLE", `Notebooks will not work here yet: ${faults.join(", ")}.`);
}
