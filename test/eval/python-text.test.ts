import { describe, expect, it } from "vitest";
import { findAll, pythonFloat, pythonInt, pythonRegex, pythonStrip } from "../../src/eval/python-text.js";

// Expected values: CPython 3.11.7.
describe("pythonRegex", () => {
  it("lets $ match before one final newline and nowhere else", () => {
    expect(pythonRegex("a$").test("a\n")).toBe(true);
    expect(pythonRegex("a$").test("a")).toBe(true);
    expect(pythonRegex("a$").test("a\n\n")).toBe(false);
    expect(pythonRegex("a$").test("a\nb")).toBe(false);
  });

  it("stops the dot only at a newline, and nowhere with DOTALL", () => {
    expect(pythonRegex("a.b").test("a\u2028b")).toBe(true);
    expect(pythonRegex("a.b").test("a\rb")).toBe(true);
    expect(pythonRegex("a.b").test("a\nb")).toBe(false);
    expect(pythonRegex("a.b", "s").test("a\nb")).toBe(true);
  });

  it("takes Python's white space and digits", () => {
    expect(pythonRegex("^\\s$").test("\x1f")).toBe(true);
    expect(pythonRegex("^\\s$").test("\ufeff")).toBe(false);
    expect(pythonRegex("^[\\s,]$").test("\x85")).toBe(true);
    expect(pythonRegex("^\\S$").test("\x85")).toBe(false);
    expect(pythonRegex("^\\d\\D$").test("٣x")).toBe(true);
  });

  it("reads needless escapes as the character itself and keeps sets inside classes", () => {
    expect(pythonRegex("\\-[0-9\\.\\,]+").exec("x-1,0.5y")?.[0]).toBe("-1,0.5");
    expect(pythonRegex("[.。$]").test("$")).toBe(true);
    expect(pythonRegex("[[a]").test("[")).toBe(true);
  });

  it("refuses an escape whose meaning it does not know", () => {
    expect(() => pythonRegex("\\Z")).toThrow("\\Z");
  });
});

describe("findAll", () => {
  it("gives every match with its groups, empty where a group took no part", () => {
    expect(findAll(pythonRegex("(a)|(b)"), "ab")).toEqual([
      ["a", "a", ""],
      ["b", "", "b"],
    ]);
  });
});

describe("Python's numbers", () => {
  it("reads what float() reads", () => {
    expect(["72.", ".5", "-1e3", "７２", " 1_000.5 "].map(pythonFloat)).toEqual([72, 0.5, -1000, 72, 1000.5]);
    expect(["", ".", "1,000", "NULL", "1_", "0x10"].map(pythonFloat)).toEqual(Array(6).fill(Number.NaN));
  });

  it("reads what int() reads", () => {
    expect(["72", "-007", " 5 ", "٣", "\u{1d7d9}"].map(pythonInt)).toEqual([72, -7, 5, 3, 1]);
    expect(["72.0", "", "1e3"].map(pythonInt)).toEqual(Array(3).fill(Number.NaN));
  });
});

describe("pythonStrip", () => {
  it("strips both ends of Python's white space only", () => {
    expect(pythonStrip("\x1c\n a b \u3000")).toBe("a b");
    expect(pythonStrip("\ufeffa")).toBe("\ufeffa");
  });
});
