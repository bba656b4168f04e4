/** Lines of two domains for the seeded model, whose texts share few tokens. */
import type { ScoredLine } from "../../src/experiment/scored-lines.js";

const WORDS = {
  code: "def add ( x , y ) : return x + y",
  animals: "the cat and the dog saw a bird in a tree",
} as const;

/** `count` lines of each domain; those of code are scored by choice, those of animals by continuation. */
export function linesOfTwoDomains(count: number): ScoredLine[] {
  return Object.entries(WORDS).flatMap(([group, text]) => {
    const words = text.split(" ");
    return Array.from({ length: count }, (_, i): ScoredLine => {
      const context = [...words.slice(i % words.length), ...words].slice(0, 8 + (i % 5)).join(" ");
      const common = { id: `${group}-${i}`, group, context };
      return group === "code"
        ? { ...common, choices: [" y", " x", " )"], answer: i % 3 }
        : { ...common, continuation: " bird" };
    });
  });
}
