/** Runs the command line inside the test's process, with streams that remember. */

import { PassThrough, Readable, Writable } from "node:stream";
import { run } from "../../src/cli/run.js";

export interface CliResult {
  code: number;
  stdout: string;
  stderr: string;
}

export interface CliInput {
  /** What stdin holds; absent: a terminal at which nobody types. */
  stdin?: string;
  signal?: AbortSignal;
  /** In place of the stream that remembers. */
  stdout?: Writable;
  /** Called with all of stdout at each write. */
  onStdout?: (text: string) => void;
}

export async function runCli(argv: readonly string[], input: CliInput = {}): Promise<CliResult> {
  const out = remembering(input.onStdout);
  const err = remembering();
  const stdin =
    input.stdin === undefined ? Object.assign(new PassThrough(), { isTTY: true }) : Readable.from([input.stdin]);
  const streams = {
    stdout: input.stdout ?? out.stream,
    stderr: err.stream,
    stdin: stdin as Readable,
    signal: input.signal,
  };
  const code = await run(argv, streams);
  return { code, stdout: out.text(), stderr: err.text() };
}

function remembering(onText?: (text: string) => void): { stream: Writable; text: () => string } {
  const chunks: Buffer[] = [];
  const text = () => Buffer.concat(chunks).toString("utf8");
  const stream = new Writable({
    write(chunk: Buffer, _encoding, done) {
      chunks.push(Buffer.from(chunk));
      onText?.(text());
      done();
    },
  });
  return { stream, text };
}
