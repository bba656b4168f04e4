/** The prefix cache as bookkeeping: what is a hit, at which level, and what goes when room is short. */
import { describe, expect, it } from "vitest";
import type { Engine } from "../../src/model/engine.js";
import { PrefixCache, type PrefixKind } from "../../src/model/prefix-cache.js";
import type { CaptureLevel, RouteRule } from "../../src/native/binding.js";
import type { RouterTrace } from "../../src/router/trace.js";

/** Sequences by number, with the lengths that they were forked at. */
class Sequences {
  readonly lengths = new Map<number, number>();
  #next = 100;

  async forkSequence(_: number, length: number): Promise<number> {
    this.lengths.set(this.#next, length);
    return this.#next++;
  }

  async releaseSequences(sequences: Iterable<number>): Promise<void> {
    for (const sequence of sequences) {
      if (!this.lengths.delete(sequence)) throw new Error(`Sequence ${sequence} was released twice.`);
    }
  }
}

/** A trace that remembers how it was cut. */
function fakeTrace(): RouterTrace {
  const of = (what: string): unknown => ({
    what,
    slice: (start: number, end: number) => of(`${what}[${start}, ${end})`),
    atLevel: (level: string) => of(`${what} at ${level}`),
  });
  return of("trace") as RouterTrace;
}

function kind(level: CaptureLevel = "counts", rulesKey = "none", rules: RouteRule[] = []): PrefixKind {
  return { level, rulesKey, rules };
}

const LEVELS = ["counts", "topk", "logits", "hidden"] as const;
const ids = (length: number, seed = 0) => Int32Array.from({ length }, (_, i) => i * 3 + seed);

function freshCache(): { cache: PrefixCache; sequences: Sequences } {
  const sequences = new Sequences();
  return { cache: new PrefixCache(sequences as unknown as Engine), sequences };
}

describe("prefix cache", () => {
  it.each(LEVELS.flatMap((stored) => LEVELS.map((asked) => [stored, asked] as const)))(
    "stored at %s, asked for at %s: a hit if the routes are there",
    async (stored, asked) => {
      const { cache } = freshCache();
      await cache.store(1, ids(40), kind(stored), stored === "counts" ? undefined : fakeTrace());
      const hit = await cache.lookup(ids(60), kind(asked), 59);
      if (LEVELS.indexOf(asked) > LEVELS.indexOf(stored)) {
        expect(hit).toBeUndefined();
        return;
      }
      expect(hit!.length).toBe(40);
      const expected = asked === "counts" ? undefined : { what: `trace[0, 40) at ${asked}` };
      expect(hit!.trace === undefined ? undefined : { what: (hit!.trace as unknown as { what: string }).what }).toEqual(
        expected,
      );
    },
  );

  it("gives the longest common beginning, up to the limit, and nothing that is not longer than what the caller has", async () => {
    const { cache, sequences } = freshCache();
    await cache.store(1, Int32Array.of(...ids(20), 7, 7), kind(), undefined);
    await cache.store(2, ids(50), kind(), undefined);
    const hit = await cache.lookup(ids(30), kind(), 29);
    expect(hit!.length).toBe(29);
    expect(sequences.lengths.get(hit!.sequence)).toBe(29);
    expect(await cache.lookup(ids(30), kind(), 29, 29)).toBeUndefined();
    expect((await cache.lookup(Int32Array.of(...ids(20), 7, 8), kind(), 21))!.length).toBe(21);
    // Below 16 positions a prefix is not worth keeping.
    expect(await cache.lookup(ids(30), kind(), 15)).toBeUndefined();
  });

  it("keeps interventions apart, and shares nothing that depends on more than tokens and positions", async () => {
    const { cache, sequences } = freshCache();
    const zero: RouteRule = { kind: "zero", layers: Int32Array.of(0), experts: Int32Array.of(1) };
    await cache.store(1, ids(40), kind("counts", "a", [zero]), undefined);
    expect(await cache.lookup(ids(40), kind(), 39)).toBeUndefined();
    expect(await cache.lookup(ids(40), kind("counts", "b", [zero]), 39)).toBeUndefined();
    expect((await cache.lookup(ids(40), kind("counts", "a", [zero]), 39))!.length).toBe(39);
    for (const scope of [{ origin: 0 }, { segments: Int32Array.of(1) }] as Partial<RouteRule>[]) {
      const before = sequences.lengths.size;
      const scoped = kind("counts", "scoped", [{ ...zero, ...scope }]);
      await cache.store(1, ids(40), scoped, undefined);
      expect(sequences.lengths.size).toBe(before);
      expect(await cache.lookup(ids(40), scoped, 39)).toBeUndefined();
    }
  });

  it("lets go of what a longer or better one covers, then of the least recently used", async () => {
    const { cache, sequences } = freshCache();
    await cache.store(1, ids(40), kind(), undefined);
    await cache.store(1, ids(60), kind("topk"), fakeTrace());
    expect([...sequences.lengths.values()]).toEqual([60]);
    for (const seed of [1, 2]) await cache.store(1, ids(6000, seed), kind(), undefined);
    await cache.lookup(ids(6000, 1), kind(), 5000); // now the second is the oldest
    await cache.store(1, ids(6000, 4), kind(), undefined);
    expect(await cache.lookup(ids(6000, 2), kind(), 5999)).toBeUndefined();
    expect((await cache.lookup(ids(6000, 1), kind(), 5999))!.length).toBe(5999);
    expect((await cache.lookup(ids(6000, 4), kind(), 5999))!.length).toBe(5999);
    await cache.store(1, ids(20_000), kind(), undefined); // never fits
    expect([...sequences.lengths.values()]).not.toContain(20_000);
    await cache.clear();
    expect(await cache.lookup(ids(6000, 1), kind(), 5999)).toBeUndefined();
  });
});
