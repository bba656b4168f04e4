/** Where the routes of an eval go. The harness does not look inside a trace; it names whose it is and when it must be safe. */

/** The routes of one request, with the key that the rows of the trace table carry. */
export interface TraceEntry {
  task: string;
  sampleId: string;
  epoch: number;
  /** Index of the request within its sample. */
  request: number;
  turn: number;
  /** What the model returned as `trace`. */
  trace: unknown;
}

export interface TraceSink {
  /** Takes the traces of a finished batch. A sample's row is written only after this resolves: no score without its routes. */
  write(entries: readonly TraceEntry[]): Promise<void>;
  close(): Promise<void>;
}
