import { badFile } from "./refuse.js";

export type JsonValue = null | boolean | number | string | JsonValue[] | JsonObject;
/** Has no prototype, so that a key such as `__proto__` is a key like any other. */
export interface JsonObject {
  [key: string]: JsonValue;
}

export interface StrictJsonOptions {
  /** Where the text is from, for messages. */
  source: string;
  /** Deepest nesting of arrays and objects that is accepted. */
  maxDepth: number;
  /**
   * `integers`: every number must be a non-negative integer below 2^53, written without fraction or exponent, as in the header
   * of a safetensors file. `any`: numbers as in JSON.
   */
  numbers: "integers" | "any";
}

/**
 * Parses untrusted JSON. Unlike JSON.parse it refuses duplicate keys, text that is not UTF-8, deep nesting, and (if asked)
 * integers that a double cannot hold. Work and memory are linear in the size of the text.
 * @throws CheckpointError BAD_FILE
 */
export function parseStrictJson(bytes: Uint8Array, options: StrictJsonOptions): JsonValue {
  let text: string;
  try {
    text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch (error) {
    throw badFile(`Expected JSON in UTF-8 in ${options.source}, found bytes that are not UTF-8.`, error);
  }
  return new StrictJsonParser(text, options).parse();
}

const SPACE = /[ \t\n\r]*/y;
/** All but the quote (22), the backslash (5c) and control characters (below 20). */
const PLAIN_STRING = /[\u0020\u0021\u0023-\u005b\u005d-\uffff]*/y;
const NUMBER = /-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?/y;
const HEX4 = /[0-9a-fA-F]{4}/y;
const UNSIGNED_INTEGER = /^[0-9]+$/;
const ESCAPES: Readonly<Record<string, string>> = {
  '"': '"',
  "\\": "\\",
  "/": "/",
  b: "\b",
  f: "\f",
  n: "\n",
  r: "\r",
  t: "\t",
};

class StrictJsonParser {
  #position = 0;

  constructor(
    private readonly text: string,
    private readonly options: StrictJsonOptions,
  ) {}

  parse(): JsonValue {
    const value = this.#value(0);
    this.#skipSpace();
    if (this.#position !== this.text.length) this.#fail("the end of the text");
    return value;
  }

  #value(depth: number): JsonValue {
    if (depth > this.options.maxDepth) {
      throw badFile(`JSON in ${this.options.source} is nested deeper than ${this.options.maxDepth} levels.`);
    }
    this.#skipSpace();
    switch (this.text[this.#position]) {
      case "{":
        return this.#object(depth);
      case "[":
        return this.#array(depth);
      case '"':
        return this.#string();
      case "t":
        return this.#word("true", true);
      case "f":
        return this.#word("false", false);
      case "n":
        return this.#word("null", null);
      default:
        return this.#number();
    }
  }

  #object(depth: number): JsonObject {
    const object: JsonObject = Object.create(null);
    this.#position++;
    if (this.#takes("}")) return object;
    do {
      this.#skipSpace();
      if (this.text[this.#position] !== '"') this.#fail("a key in double quotes");
      const key = this.#string();
      if (key in object) throw badFile(`Duplicate key ${JSON.stringify(key)} in the JSON of ${this.options.source}.`);
      if (!this.#takes(":")) this.#fail('":"');
      object[key] = this.#value(depth + 1);
    } while (this.#takes(","));
    if (!this.#takes("}")) this.#fail('"," or "}"');
    return object;
  }

  #array(depth: number): JsonValue[] {
    const array: JsonValue[] = [];
    this.#position++;
    if (this.#takes("]")) return array;
    do array.push(this.#value(depth + 1));
    while (this.#takes(","));
    if (!this.#takes("]")) this.#fail('"," or "]"');
    return array;
  }

  #string(): string {
    this.#position++;
    let out = this.#match(PLAIN_STRING);
    while (this.text[this.#position] === "\\") {
      out += this.#escape();
      out += this.#match(PLAIN_STRING);
    }
    if (this.text[this.#position] !== '"') this.#fail("the end of a string");
    this.#position++;
    return out;
  }

  #escape(): string {
    const letter = this.text[this.#position + 1] ?? "";
    this.#position += 2;
    if (letter === "u") {
      const digits = this.#match(HEX4);
      if (digits === "") this.#fail("four hexadecimal digits after \\u");
      return String.fromCharCode(Number.parseInt(digits, 16));
    }
    const character = ESCAPES[letter];
    if (character === undefined) this.#fail("a known escape");
    return character;
  }

  #number(): number {
    const start = this.#position;
    const digits = this.#match(NUMBER);
    if (digits === "") this.#fail("a value");
    const value = Number(digits);
    if (this.options.numbers === "any") return value;
    if (!UNSIGNED_INTEGER.test(digits) || !Number.isSafeInteger(value)) {
      this.#position = start;
      this.#fail("a whole number from 0 to 2^53 - 1");
    }
    return value;
  }

  #word<T extends JsonValue>(word: string, value: T): T {
    if (!this.text.startsWith(word, this.#position)) this.#fail("a value");
    this.#position += word.length;
    return value;
  }

  #takes(punctuation: string): boolean {
    this.#skipSpace();
    if (this.text[this.#position] !== punctuation) return false;
    this.#position++;
    return true;
  }

  #skipSpace(): void {
    this.#match(SPACE);
  }

  /** The text that a sticky expression matches here, or "" where it does not; moves past it. */
  #match(expression: RegExp): string {
    expression.lastIndex = this.#position;
    const found = expression.exec(this.text)?.[0] ?? "";
    this.#position += found.length;
    return found;
  }

  #fail(expected: string): never {
    const found =
      this.#position >= this.text.length
        ? "the end"
        : JSON.stringify(this.text.slice(this.#position, this.#position + 20));
    throw badFile(
      `Expected ${expected} at character ${this.#position} of the JSON in ${this.options.source}, found ${found}.`,
    );
  }
}
