/**
 * A string that knows, for every character, whether the template or its data wrote it.
 *
 * A chat template may move, cut, trim or upper-case a message as it likes; what a user wrote stays marked as a user's through
 * all of it, and so can never be read as a special token. Offsets are UTF-16 code units unless a name says "points".
 */

export interface Run {
  readonly text: string;
  /** True where data (messages, tools, a caller's variables) wrote it; false where the template did. */
  readonly fromData: boolean;
}

const SURROGATE = /[\ud800-\udfff]/;
/** Longer than any chat: a template may come with a hostile file. [UTF-16 code units] */
const MAX_LENGTH = 1 << 26;

function checkLength(length: number): void {
  if (length > MAX_LENGTH) throw new RangeError(`a text of ${length} characters`);
}

export class Text {
  static readonly EMPTY: Text = new Text([]);
  readonly runs: readonly Run[];
  readonly value: string;

  private constructor(runs: readonly Run[]) {
    this.runs = runs;
    this.value = runs.length === 1 ? runs[0]!.text : runs.map((run) => run.text).join("");
  }

  /** Text that the template wrote. */
  static of(text: string): Text {
    return text === "" ? Text.EMPTY : new Text([{ text, fromData: false }]);
  }

  /** Text that came with the data. */
  static fromData(text: string): Text {
    return text === "" ? Text.EMPTY : new Text([{ text, fromData: true }]);
  }

  /** Throws RangeError where the result would be longer than any chat. */
  static concat(parts: readonly Text[]): Text {
    checkLength(parts.reduce((sum, part) => sum + part.length, 0));
    const pieces: { texts: string[]; fromData: boolean }[] = [];
    for (const part of parts) {
      for (const run of part.runs) {
        const last = pieces.at(-1);
        if (last !== undefined && last.fromData === run.fromData) last.texts.push(run.text);
        else pieces.push({ texts: [run.text], fromData: run.fromData });
      }
    }
    return pieces.length === 0
      ? Text.EMPTY
      : new Text(pieces.map(({ texts, fromData }) => ({ text: texts.join(""), fromData })));
  }

  get length(): number {
    return this.value.length;
  }

  /** Characters from `start` to before `end`. */
  slice(start: number, end: number = this.length): Text {
    const runs: Run[] = [];
    let offset = 0;
    for (const run of this.runs) {
      const text = run.text.slice(Math.max(start - offset, 0), Math.max(end - offset, 0));
      if (text !== "") runs.push({ text, fromData: run.fromData });
      offset += run.text.length;
    }
    return runs.length === 0 ? Text.EMPTY : new Text(runs);
  }

  /**
   * `change` applied to the whole string, origins kept run by run. Where the change looks across runs (title case at a
   * boundary, a final sigma) the whole result counts as data: the safe side.
   */
  map(change: (text: string) => string): Text {
    const mapped = this.runs.map((run) => ({ text: change(run.text), fromData: run.fromData }));
    const whole = change(this.value);
    if (mapped.map((run) => run.text).join("") === whole) return new Text(mapped.filter((run) => run.text !== ""));
    return this.runs.some((run) => run.fromData) ? Text.fromData(whole) : Text.of(whole);
  }

  join(parts: readonly Text[]): Text {
    return Text.concat(parts.flatMap((part, index) => (index === 0 ? [part] : [this, part])));
  }

  /** Throws RangeError where the result would be longer than any chat. */
  repeat(count: number): Text {
    if (count <= 0 || this.length === 0) return Text.EMPTY;
    checkLength(count * this.length);
    const [run] = this.runs;
    if (this.runs.length === 1) return new Text([{ text: run!.text.repeat(count), fromData: run!.fromData }]);
    return Text.concat(new Array<Text>(count).fill(this));
  }

  /** How many code points it has. */
  get numPoints(): number {
    return SURROGATE.test(this.value) ? [...this.value].length : this.length;
  }

  /** The offset of code point `index`, which may be one past the last. */
  offsetOfPoint(index: number): number {
    if (!SURROGATE.test(this.value)) return index;
    let [offset, passed] = [0, 0];
    for (const point of this.value) {
      if (passed++ === index) return offset;
      offset += point.length;
    }
    return offset;
  }

  /** Its code points, one Text each. */
  points(): Text[] {
    const points: Text[] = [];
    for (const run of this.runs) for (const text of run.text) points.push(new Text([{ text, fromData: run.fromData }]));
    return points;
  }

  /** Cuts at every place of `separator`, at most `limit` times, as Python's str.split(sep) does. */
  split(separator: string, limit: number = Number.POSITIVE_INFINITY): Text[] {
    const parts: Text[] = [];
    let start = 0;
    for (;;) {
      const at = parts.length < limit ? this.value.indexOf(separator, start) : -1;
      if (at < 0) return [...parts, this.slice(start)];
      parts.push(this.slice(start, at));
      start = at + separator.length;
    }
  }

  toString(): string {
    return this.value;
  }
}
