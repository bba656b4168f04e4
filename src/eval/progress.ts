import { type Interval, wilson } from "./statistics.js";
import type { Metric, Scores } from "./task.js";

/** How a run stands, for the person who waits. */
export interface Progress {
  task: string;
  track: string;
  /** Samples finished, those of an earlier attempt included, and samples in all. */
  done: number;
  total: number;
  /** Requests answered in the batch at work, and requests in it. */
  requestsDone: number;
  requestsTotal: number;
  /** Samples per second since this attempt began; NaN before the first one. */
  perSecond: number;
  secondsLeft: number;
  /** The first metric's scorer so far, as a plain mean over samples with its 95 % interval. */
  running?: { metric: string; value: number; interval: Interval; n: number };
}

/** Counts samples and their scores as they come, and makes events of it. */
export class ProgressMeter {
  readonly #started: number = performance.now();
  readonly #task: { name: string; track: string };
  readonly #metric: Metric | undefined;
  readonly #total: number;
  readonly #resumed: number;
  #done: number;
  #sum: number = 0;
  #scored: number = 0;
  #isBinary: boolean = true;

  constructor(
    task: { name: string; track: string; metrics: readonly Metric[] },
    total: number,
    earlier: Iterable<Scores>,
  ) {
    this.#task = task;
    this.#metric = task.metrics[0];
    this.#total = total;
    this.#done = 0;
    for (const scores of earlier) this.add(scores);
    this.#resumed = this.#done;
  }

  add(scores: Scores): void {
    this.#done++;
    const value = this.#metric === undefined ? null : (scores[this.#metric.scorer]?.value ?? null);
    if (value === null) return;
    this.#scored++;
    this.#sum += value;
    this.#isBinary &&= value === 0 || value === 1;
  }

  event(requestsDone: number = 0, requestsTotal: number = 0): Progress {
    const seconds = (performance.now() - this.#started) / 1000;
    const perSecond = this.#done > this.#resumed ? (this.#done - this.#resumed) / seconds : Number.NaN;
    return {
      task: this.#task.name,
      track: this.#task.track,
      done: this.#done,
      total: this.#total,
      requestsDone,
      requestsTotal,
      perSecond,
      secondsLeft: (this.#total - this.#done) / perSecond,
      running: this.#running(),
    };
  }

  #running(): Progress["running"] {
    if (this.#metric === undefined || this.#scored === 0) return undefined;
    const value = this.#sum / this.#scored;
    const interval: Interval = this.#isBinary ? wilson(this.#sum, this.#scored) : [Number.NaN, Number.NaN];
    return { metric: this.#metric.name, value, interval, n: this.#scored };
  }
}
