/** Which statements and branches of the instrumented sources an input reached, and about how often. */

/** Counts fall into classes as in AFL: 1, 2, 3, 4-7, 8-15, ...: a loop that runs once more is news only if that is much more. */
const countClass = (count) => (count < 4 ? count - 1 : Math.min(7, Math.floor(Math.log2(count)) + 1));

export class Coverage {
  /** Every counter as [its list, its place there]. */
  #counters;
  /** The classes in which each counter was seen, a bit each. */
  #seen;

  /** `counters`: what istanbul's code fills, by file. */
  constructor(counters) {
    const lists = Object.values(counters).flatMap(({ s, f, b }) => [s, f, ...Object.values(b)]);
    this.#counters = lists.flatMap((list) => Object.keys(list).map((key) => [list, key]));
    this.#seen = new Uint8Array(this.#counters.length);
  }

  reset() {
    for (const [list, key] of this.#counters) list[key] = 0;
  }

  /** Takes in what was reached since `reset`; true where something was reached for the first time or in a new class. */
  takeNew() {
    let isNew = false;
    for (const [id, [list, key]] of this.#counters.entries()) {
      if (list[key] === 0) continue;
      const classes = this.#seen[id];
      this.#seen[id] |= 1 << countClass(list[key]);
      isNew ||= this.#seen[id] !== classes;
    }
    return isNew;
  }

  /** Statements, functions and branches that were reached. */
  get places() {
    return this.#seen.reduce((count, classes) => count + (classes === 0 ? 0 : 1), 0);
  }
}
