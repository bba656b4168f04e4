/** npm packages: `npm ci` where node_modules is not what package-lock.json says. */
import fs from "node:fs";
import path from "node:path";
import { runStep, SetupError } from "./step.mjs";

const NETWORK_FAULT = /ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|ETIMEDOUT|ENETUNREACH|ERR_SOCKET_TIMEOUT|network/;

function readLock(file) {
  try {
    return JSON.parse(fs.readFileSync(file, "utf8")).packages ?? {};
  } catch {
    return undefined;
  }
}

/**
 * Whether node_modules holds what the lock asks for, by the record that npm itself keeps there; so an `npm install` by hand counts too.
 * Optional packages may be absent: they are builds for other machines.
 */
export function packagesAreInstalled(root) {
  const wanted = readLock(path.join(root, "package-lock.json"));
  const installed = readLock(path.join(root, "node_modules", ".package-lock.json"));
  if (wanted === undefined) throw new SetupError("package-lock.json is missing or is not JSON: restore it with git.");
  if (installed === undefined) return false;
  return Object.entries(wanted).every(([folder, entry]) => {
    if (folder === "") return true;
    const have = installed[folder];
    if (have === undefined) return entry.optional === true;
    return (
      have.version === entry.version &&
      have.integrity === entry.integrity &&
      fs.existsSync(path.join(root, folder, "package.json"))
    );
  });
}

/**
 * Gives `npx tsc` back to the project's own TypeScript: the fork that tslab brings for the cells of notebooks has a `tsc` too, and npm
 * lets it win. Windows has no links there; the scripts name the compiler by its file in any case.
 */
export function claimTsc(root) {
  const link = path.join(root, "node_modules", ".bin", "tsc");
  const own = "../typescript/bin/tsc";
  if (!fs.lstatSync(link, { throwIfNoEntry: false })?.isSymbolicLink() || fs.readlinkSync(link) === own) return;
  fs.unlinkSync(link);
  fs.symlinkSync(own, link);
}

/** Installs the packages where needed; true if it had to. */
export async function ensurePackages(root, logs) {
  if (packagesAreInstalled(root)) {
    claimTsc(root);
    return false;
  }
  // Under `npm run`, npm says where it is itself; on Windows and in odd PATHs that is the only sure way to find it.
  const npm = process.env.npm_execpath?.endsWith(".js") ? [process.execPath, process.env.npm_execpath] : ["npm"];
  const [command, ...before] = npm;
  await runStep("npm packages (npm ci)", command, [...before, "ci", "--include=dev", "--no-audit", "--no-fund"], {
    cwd: root,
    logFile: path.join(logs, "npm-ci.log"),
    explain: (output) =>
      NETWORK_FAULT.test(output)
        ? "The npm registry could not be reached: check the network and `npm config get registry`, then run the command again."
        : undefined,
  });
  claimTsc(root);
  return true;
}
