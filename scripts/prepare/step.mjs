/** Runs one command of the set-up: says what it does, shows that it is alive, keeps its output in a log. */
import { spawn } from "node:child_process";
import fs from "node:fs";
import path from "node:path";

/** A failure that is explained in its message: shown as it is, without a stack. */
export class SetupError extends Error {}

const HEARTBEAT_MS = 10_000;
const LINES_SHOWN_ON_FAILURE = 40;

/** Progress goes to stderr, so that the standard output of what follows stays a program's to read. */
export function say(line) {
  process.stderr.write(`${line}\n`);
}

/** Milliseconds as "0.4 s". */
export function seconds(ms) {
  return `${(ms / 1000).toFixed(1)} s`;
}

/** The counter at the start of a line of make or ninja, "[ 45%]" or "[12/30]"; empty where there is none. */
function counterOf(line) {
  const match = /^\[\s*(\d+%|\d+\/\d+)\]/.exec(line);
  return match ? match[1] : "";
}

/** The part of a failed command's output that says why: from the first line that names an error, else the end. */
function tellingPart(output) {
  const lines = output.trimEnd().split("\n");
  const firstError = lines.findIndex((line) => /\berror\b/i.test(line));
  const start = firstError >= 0 ? firstError : Math.max(0, lines.length - LINES_SHOWN_ON_FAILURE);
  return lines.slice(start, start + LINES_SHOWN_ON_FAILURE).join("\n");
}

/**
 * Runs `command`, shows `label`, the command's own counter and the time, and resolves with the output.
 * A failure becomes a SetupError with one sentence and the log's path: `explain(output)` where that knows the cause, else `failure`
 * after the telling part of the output.
 *
 * @param {string} label
 * @param {string} command
 * @param {string[]} args
 * @param {{ cwd: string, logFile: string, env?: Record<string, string>, failure?: string,
 *   explain?: (output: string) => string | undefined }} options
 * @returns {Promise<string>}
 */
export function runStep(label, command, args, { cwd, logFile, env = {}, failure, explain = () => undefined }) {
  fs.mkdirSync(path.dirname(logFile), { recursive: true });
  const log = fs.openSync(logFile, "w");
  const started = Date.now();
  const isTerminal = process.stderr.isTTY === true;
  let output = "";
  let counter = "";
  const status = () => `  ${label} ${counter} ${seconds(Date.now() - started)}`;

  say(`  ${label} ...`);
  const timer = setInterval(
    () => process.stderr.write(isTerminal ? `\r${status()}\x1b[K` : `${status()}\n`),
    isTerminal ? 500 : HEARTBEAT_MS,
  );
  const child = spawn(command, args, { cwd, env: { ...process.env, ...env }, stdio: ["ignore", "pipe", "pipe"] });
  const take = (chunk) => {
    fs.writeSync(log, chunk);
    output += chunk;
    for (const line of chunk.split("\n")) counter = counterOf(line) || counter;
  };
  child.stdout.setEncoding("utf8").on("data", take);
  child.stderr.setEncoding("utf8").on("data", take);

  return new Promise((resolve, reject) => {
    const finish = (sentence) => {
      child.removeAllListeners();
      clearInterval(timer);
      fs.closeSync(log);
      if (isTerminal) process.stderr.write("\r\x1b[K");
      if (sentence === undefined) {
        say(`  ${label}: done in ${seconds(Date.now() - started)}`);
        resolve(output);
        return;
      }
      reject(new SetupError(`${sentence} Full log: ${logFile}`));
    };
    child.on("error", (error) => finish(`Could not start ${command} (${error.message}).`));
    child.on("close", (code, signal) => {
      if (code === 0) {
        finish(undefined);
        return;
      }
      const cause = explain(output);
      if (cause === undefined) say(tellingPart(output));
      finish(cause ?? failure ?? `${label} failed (${signal ?? `exit code ${code}`}).`);
    });
  });
}
