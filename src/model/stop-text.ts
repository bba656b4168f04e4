/**
 * Text of one generation as it grows, with its stop strings: nothing is given out that may still turn out to begin one.
 * The final text is cut at the first occurrence of each stop string, in the order of the list (lm-evaluation-harness's rule).
 */
export class StopText {
  readonly #stops: readonly string[];
  #text = "";
  #given = 0;

  constructor(stops: readonly string[]) {
    this.#stops = stops;
  }

  /** Adds text; true when a stop string is complete. An empty stop string is complete at once. */
  push(piece: string): boolean {
    this.#text += piece;
    return this.#stops.some((stop) => this.#text.includes(stop));
  }

  /** Text that is certain now and was not given before. */
  take(isFinished: boolean): string {
    const end = isFinished ? this.text.length : this.#text.length - this.#heldBack();
    const fresh = end > this.#given ? this.#text.slice(this.#given, end) : "";
    this.#given = Math.max(this.#given, end);
    return fresh;
  }

  /** All of the text, cut at its stop strings. */
  get text(): string {
    let text = this.#text;
    for (const stop of this.#stops) {
      const at = text.indexOf(stop);
      if (at >= 0) text = text.slice(0, at);
    }
    return text;
  }

  /** Length of the longest end of the text that begins a stop string. */
  #heldBack(): number {
    let longest = 0;
    for (const stop of this.#stops) {
      for (let length = Math.min(stop.length, this.#text.length); length > longest; length--) {
        if (this.#text.endsWith(stop.slice(0, length))) longest = length;
      }
    }
    return longest;
  }
}
