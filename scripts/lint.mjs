#!/usr/bin/env node
/** Style and types of both languages; runs every check, then says which failed. `--fix` formats instead of complaining. */
import { spawnSync } from "node:child_process";
import path from "node:path";
import { filesUnder } from "./prepare/stamp.mjs";
import { SetupError, say, seconds } from "./prepare/step.mjs";
import { prepare, ROOT, runScript } from "./prepare.mjs";

const isFix = process.argv.includes("--fix");
const script = (...parts) => path.join(ROOT, "node_modules", ...parts);

/** C++ sources, without build folders. */
const nativeSources = filesUnder(
  path.join(ROOT, "native"),
  (name) => /\.(cpp|h|cu|cuh)$/.test(name),
  (name) => name.startsWith("build"),
);

/** The npm package carries clang-format for these machines only. */
const CLANG_FORMAT_FOLDERS = { "linux-x64": "linux_x64", "darwin-x64": "darwin_x64" };

function clangFormat() {
  const folder = CLANG_FORMAT_FOLDERS[`${process.platform}-${process.arch}`];
  return folder && path.join("node_modules", "clang-format", "bin", folder, "clang-format");
}

/** The checks as [name, command, arguments], or [name, reason why it cannot run here]. */
function checks() {
  const node = process.execPath;
  const tsc = script("typescript", "bin", "tsc");
  const formatter = clangFormat();
  return [
    [
      "biome",
      node,
      [script("@biomejs", "biome", "bin", "biome"), "check", "--error-on-warnings", ...(isFix ? ["--write"] : []), "."],
    ],
    ["types of src and evals", node, [tsc, "--noEmit", "-p", "."]],
    ["types of tests", node, [tsc, "--noEmit", "-p", "test"]],
    formatter === undefined
      ? ["clang-format", `the npm package has no build for ${process.platform}-${process.arch}`]
      : ["clang-format", formatter, [...(isFix ? ["-i"] : ["--dry-run", "-Werror"]), ...nativeSources]],
  ];
}

await runScript(async () => {
  await prepare({ packagesOnly: true });
  const failed = [];
  for (const [name, command, args] of checks()) {
    if (args === undefined) {
      say(`- ${name}: skipped, ${command}`);
      continue;
    }
    const started = Date.now();
    const result = spawnSync(command, args, { cwd: ROOT, stdio: "inherit" });
    if (result.status !== 0) failed.push(name);
    say(`${result.status === 0 ? "✓" : "✗"} ${name} (${seconds(Date.now() - started)})`);
  }
  if (failed.length > 0) throw new SetupError(`Lint failed: ${failed.join(", ")}. \`npm run lint -- --fix\` formats.`);
});
