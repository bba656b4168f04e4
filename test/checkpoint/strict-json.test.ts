import { describe, expect, it } from "vitest";
import { parseStrictJson } from "../../src/checkpoint/strict-json.js";
import { MoescopeError } from "../../src/errors.js";
import { random } from "./random.js";

const parse = (text: string | Uint8Array, numbers: "integers" | "any" = "any", maxDepth: number = 8) =>
  parseStrictJson(Buffer.from(text as string), { source: "x.json", maxDepth, numbers });

/** Objects of the parser have no prototype; toEqual does not mind. */
describe("strict JSON", () => {
  it("reads what JSON.parse reads", () => {
    const texts = [
      "null",
      " true ",
      "[]",
      "{}",
      "[1, -2, 0.5, 1e3, 1E-3, -0]",
      '{"a": {"b": [{"c": "d"}]}, "": 1}',
      '"\\u00e9\\ud83d\\ude00\\n\\t\\r\\b\\f\\/\\\\\\""',
      '"é😀\u007f"',
      "\n\t\r [ 1 , 2 ] \n",
    ];
    for (const text of texts) expect(parse(text), text).toEqual(JSON.parse(text));
  });

  it("keeps __proto__ as a key like any other", () => {
    const value = parse('{"__proto__": 1, "constructor": 2}') as Record<string, number>;
    expect(Object.keys(value)).toEqual(["__proto__", "constructor"]);
    expect(value.toString).toBeUndefined();
  });

  it.each([
    ['{"a": 1, "a": 2}', 'Duplicate key "a" in the JSON of x.json.'],
    ['{"a": 1, "\\u0061": 2}', 'Duplicate key "a" in the JSON of x.json.'],
    ["[1,]", 'Expected a value at character 3 of the JSON in x.json, found "]".'],
    ["{'a': 1}", "Expected a key in double quotes at character 1 of the JSON in x.json, found \"'a': 1}\"."],
    ['{"a" 1}', 'Expected ":" at character 5 of the JSON in x.json, found "1}".'],
    ["[1 2]", 'Expected "," or "]" at character 3 of the JSON in x.json, found "2]".'],
    ['"a', "Expected the end of a string at character 2 of the JSON in x.json, found the end."],
    ['"a\n"', 'Expected the end of a string at character 2 of the JSON in x.json, found "\\n\\"".'],
    ['"\\x"', 'Expected a known escape at character 3 of the JSON in x.json, found "\\"".'],
    ['"\\u12"', 'Expected four hexadecimal digits after \\u at character 3 of the JSON in x.json, found "12\\"".'],
    ["01", 'Expected the end of the text at character 1 of the JSON in x.json, found "1".'],
    ["NaN", 'Expected a value at character 0 of the JSON in x.json, found "NaN".'],
    ["tru", 'Expected a value at character 0 of the JSON in x.json, found "tru".'],
    ["", "Expected a value at character 0 of the JSON in x.json, found the end."],
    ["[[[[[[[[[1]]]]]]]]]", "JSON in x.json is nested deeper than 8 levels."],
    ["\ufeff{}", 'Expected a value at character 0 of the JSON in x.json, found "\ufeff{}".'],
  ])("refuses %s", (text, sentence) => {
    expect(() => parse(text)).toThrow(sentence);
  });

  it("refuses bytes that are not UTF-8", () => {
    expect(() => parse(Uint8Array.of(0x22, 0xff, 0x22))).toThrow(
      "Expected JSON in UTF-8 in x.json, found bytes that are not UTF-8.",
    );
  });

  it("holds numbers to whole ones that a double can carry, if asked", () => {
    expect(parse("9007199254740991", "integers")).toBe(Number.MAX_SAFE_INTEGER);
    for (const text of ["9007199254740992", "1.0", "1e3", "-1", "-0"]) {
      expect(() => parse(text, "integers"), text).toThrow("Expected a whole number from 0 to 2^53 - 1 at character 0");
    }
  });

  it("reads a string of 50 million characters", () => {
    expect((parse(`"${"a".repeat(50_000_000)}"`) as string).length).toBe(50_000_000);
  });

  it("agrees with JSON.parse on damaged texts, but for duplicate keys and depth", () => {
    const pick = random(7);
    const sample = '{"a":[1,-2.5e3,"x\\n\\u0041y"],"b":{"c":null,"d":true},"e":"\\\\"}';
    const letters = '{}[]",:0123.eE+-\\utrfnabc \n';
    let accepted = 0;
    for (let round = 0; round < 5000; round++) {
      const at = pick(sample.length);
      const text = sample.slice(0, at) + letters[pick(letters.length)] + sample.slice(at + pick(3));
      const theirs = outcome(() => JSON.parse(text));
      const ours = outcome(() => parse(text));
      if (ours.error !== undefined && /Duplicate/.test(ours.error)) continue;
      expect(ours.value, text).toEqual(theirs.value);
      expect(ours.error === undefined, text).toBe(theirs.error === undefined);
      if (ours.error === undefined) accepted++;
    }
    expect(accepted).toBeGreaterThan(300);
  });
});

function outcome(run: () => unknown): { value?: unknown; error?: string } {
  try {
    return { value: run() };
  } catch (error) {
    if (!(error instanceof MoescopeError) && !(error instanceof SyntaxError)) throw error;
    return { error: error.message };
  }
}
