/**
 * The best match of a text among a few choices, as thefuzz 0.22 (`process.extractOne`, scorer WRatio, over rapidfuzz 3) finds it. Qwen's
 * C-Eval script asks it where no letter is found, so its choice is part of the protocol. Lengths are in code points.
 *
 * Sources: the definitions in rapidfuzz's documentation (ratio, token_sort_ratio, token_set_ratio, partial_ratio, WRatio), checked
 * against outputs of the library.
 */

/** The index of the first choice with the highest score. `choices` has at least one. */
export function bestMatch(text: string, choices: readonly string[]): number {
  const scores = choices.map((choice) => similarity(text, choice));
  return scores.indexOf(Math.max(...scores));
}

/** How alike two texts are, 0 to 100: WRatio after thefuzz's `full_process`. */
export function similarity(a: string, b: string): number {
  return weightedRatio(normalise(a), normalise(b));
}

/** Lower case, without Latin-1 beyond ASCII (thefuzz means to drop all of Unicode and drops this), else letters and digits alone. */
function normalise(text: string): string {
  return text
    .replace(/[\u0080-\u00ff]/gu, "")
    .replace(/[^\p{L}\p{N}]/gu, " ")
    .toLowerCase()
    .trim();
}

function weightedRatio(a: string, b: string): number {
  const [x, y] = [[...a], [...b]];
  if (x.length === 0 || y.length === 0) return 0;
  const lengthRatio = Math.max(x.length, y.length) / Math.min(x.length, y.length);
  const whole = ratio(x, y);
  if (lengthRatio < 1.5) return Math.max(whole, 0.95 * tokenRatio(a, b));
  const scale = lengthRatio <= 8 ? 0.9 : 0.6;
  return Math.max(whole, scale * partialRatio(x, y), 0.95 * scale * partialTokenRatio(a, b));
}

type Chars = readonly string[];

/** Twice the longest common subsequence over the summed lengths, in percent. */
function ratio(a: Chars, b: Chars): number {
  const total = a.length + b.length;
  return total === 0 ? 100 : (200 * commonLength(a, b)) / total;
}

function commonLength(a: Chars, b: Chars): number {
  const row = new Int32Array(b.length + 1);
  for (const char of a) {
    let diagonal = 0;
    for (let j = 1; j <= b.length; j++) {
      const above = row[j]!;
      row[j] = char === b[j - 1] ? diagonal + 1 : Math.max(above, row[j - 1]!);
      diagonal = above;
    }
  }
  return row[b.length]!;
}

/** The best ratio of the shorter text with a stretch of the longer one, as long as it or cut by an end. */
function partialRatio(a: Chars, b: Chars): number {
  if (a.length === 0 || b.length === 0) return a.length === b.length ? 100 : 0;
  if (a.length === b.length) return Math.max(bestWindow(a, b), bestWindow(b, a));
  return a.length < b.length ? bestWindow(a, b) : bestWindow(b, a);
}

/** A stretch whose outer end matches nothing is no better than the one beside it without that end: it is passed over. */
function bestWindow(short: Chars, long: Chars): number {
  const known = new Set(short);
  let best = 0;
  for (let end = 1; end < long.length + short.length && best < 100; end++) {
    const outer = end <= long.length ? long[end - 1]! : long[end - short.length]!;
    if (!known.has(outer)) continue;
    best = Math.max(best, ratio(short, long.slice(Math.max(0, end - short.length), end)));
  }
  return best;
}

/** The larger of the ratios of sorted words and of word sets. */
function tokenRatio(a: string, b: string): number {
  const { wordsA, wordsB, common, onlyA, onlyB } = wordSets(a, b);
  if (common.length > 0 && (onlyA.length === 0 || onlyB.length === 0)) return 100;
  const sorted = ratio([...wordsA.join(" ")], [...wordsB.join(" ")]);
  const [restA, restB, shared] = [chars(onlyA), chars(onlyB), chars(common)];
  // The shared words begin both texts, so they need not be aligned: only the rest differs.
  const gap = shared.length > 0 ? 1 : 0;
  const lengthA = shared.length + gap + restA.length;
  const lengthB = shared.length + gap + restB.length;
  const distance = restA.length + restB.length - 2 * commonLength(restA, restB);
  const withRest = 100 - (100 * distance) / (lengthA + lengthB);
  if (shared.length === 0) return Math.max(sorted, withRest);
  const against = (rest: Chars, length: number) => 100 - (100 * (gap + rest.length)) / (shared.length + length);
  return Math.max(sorted, withRest, against(restA, lengthA), against(restB, lengthB));
}

function partialTokenRatio(a: string, b: string): number {
  const { wordsA, wordsB, common, onlyA, onlyB } = wordSets(a, b);
  if (common.length > 0) return 100;
  const sorted = partialRatio([...wordsA.join(" ")], [...wordsB.join(" ")]);
  const isAll = wordsA.length === onlyA.length && wordsB.length === onlyB.length;
  return isAll ? sorted : Math.max(sorted, partialRatio(chars(onlyA), chars(onlyB)));
}

/** Words in order of their code points, and as sets: shared ones and those of one text alone. */
function wordSets(a: string, b: string): Record<"wordsA" | "wordsB" | "common" | "onlyA" | "onlyB", string[]> {
  const [wordsA, wordsB] = [sortedWords(a), sortedWords(b)];
  const [setA, setB] = [new Set(wordsA), new Set(wordsB)];
  return {
    wordsA,
    wordsB,
    common: [...setA].filter((word) => setB.has(word)),
    onlyA: [...setA].filter((word) => !setB.has(word)),
    onlyB: [...setB].filter((word) => !setA.has(word)),
  };
}

function sortedWords(text: string): string[] {
  const words = text.split(/\s+/u).filter((word) => word !== "");
  return words.sort((x, y) => Buffer.compare(Buffer.from(x), Buffer.from(y)));
}

function chars(words: readonly string[]): Chars {
  return [...words.join(" ")];
}
