/** Stop strings: nothing of one is ever shown, wherever the borders of tokens fall. */
import { describe, expect, it } from "vitest";
import { StopText } from "../../src/model/stop-text.js";

/** What a reader of the stream gets, and whether a stop string ended it. */
function read(
  pieces: readonly string[],
  stops: readonly string[],
): { shown: string[]; stopped: boolean; text: string } {
  const stopText = new StopText(stops);
  const shown: string[] = [];
  let stopped = false;
  for (const piece of pieces) {
    stopped = stopText.push(piece);
    shown.push(stopText.take(stopped));
    if (stopped) break;
  }
  if (!stopped) shown.push(stopText.take(true));
  return { shown, stopped, text: stopText.text };
}

describe("stop strings", () => {
  it.each<[string, string[], string[], string]>([
    ["in one piece", ["one\n\ntwo"], ["\n\n"], "one"],
    ["over three pieces", ["one", "\n", "\n", "two"], ["\n\n"], "one"],
    ["that begin twice before they come", ["a", "a", "a", "b", "c"], ["aab"], "a"],
    ["of which one begins another", ["x<", "|", "end", "|", ">"], ["<|end|>", "<|"], "x"],
    ["as a surrogate pair in two pieces", ["ok \ud83d", "\ude00 more"], ["\ud83d\ude00"], "ok "],
  ])("%s end the text before them", (_, pieces, stops, expected) => {
    const { shown, stopped, text } = read(pieces, stops);
    expect({ stopped, text }).toEqual({ stopped: true, text: expected });
    expect(shown.join("")).toBe(expected);
  });

  it("hold back only what may still begin one, and give it out at the end", () => {
    expect(read(["ab", "STO", "x", "ST"], ["STOP"])).toEqual({
      shown: ["ab", "", "STOx", "", "ST"],
      stopped: false,
      text: "abSTOxST",
    });
  });

  it("cut one after another, in the order of the list", () => {
    expect(read(["abc"], ["bc", "ab"]).text).toBe("a");
    expect(read(["abc"], ["ab", "bc"]).text).toBe("");
  });
});
