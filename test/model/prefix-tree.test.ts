/** The tree of kept prefixes as bookkeeping: what is a hit, at which level, what is stored once, and what goes when room is short. */
import { describe, expect, it } from "vitest";
import { type PrefixKind, PrefixTree } from "../../src/model/scheduler/prefix-tree.js";
import type { CaptureLevel } from "../../src/native/binding.js";
import { RouterTrace } from "../../src/router/trace.js";
import { METADATA, syntheticStep } from "../router/synthetic-trace.js";

/** Sequences by number with the lengths that they were forked at; a position costs a byte. */
class Sequences {
  readonly lengths = new Map<number, number>();
  #next = 100;

  fork(_: number, length: number): number {
    this.lengths.set(this.#next, length);
    return this.#next++;
  }

  release(sequence: number): void {
    if (!this.lengths.delete(sequence)) throw new Error(`Sequence ${sequence} was released twice.`);
  }

  bytesOf(from: number, to: number): number {
    return to - from;
  }
}

const LEVELS = ["counts", "topk", "logits", "hidden"] as const;

function kind(level: CaptureLevel = "counts", cacheKey: string | undefined = "none", routesKey = "none"): PrefixKind {
  return { cacheKey, routesKey, level };
}

const ids = (length: number, seed = 0) => Int32Array.from({ length }, (_, i) => i * 3 + seed);

function routesFor(tokenIds: Int32Array, level: CaptureLevel, seed = 1): RouterTrace | undefined {
  if (level === "counts") return undefined;
  const runs = [{ tokenIds, firstPosition: 0, origin: 0 as const, segment: 1 }];
  return RouterTrace.fromStep(syntheticStep(runs, { level, seed }), runs, { metadata: METADATA, level });
}

function freshTree(): { tree: PrefixTree; sequences: Sequences } {
  const sequences = new Sequences();
  return { tree: new PrefixTree(sequences), sequences };
}

describe("prefix tree", () => {
  it.each(LEVELS.flatMap((stored) => LEVELS.map((asked) => [stored, asked] as const)))(
    "stored at %s, asked for at %s: a hit if the routes are there",
    (stored, asked) => {
      const { tree } = freshTree();
      const routes = routesFor(ids(40), stored);
      tree.insert(ids(40), 1, kind(stored), routes);
      const hit = tree.match(ids(30), kind(asked));
      if (LEVELS.indexOf(asked) > LEVELS.indexOf(stored)) {
        expect(hit).toBeUndefined();
        return;
      }
      expect(hit!.length).toBe(30);
      const found = tree.routesOf(hit!, kind(asked));
      if (asked === "counts") expect(found).toBeUndefined();
      else expect(found).toEqual(routes!.slice(0, 30).atLevel(asked));
    },
  );

  it("gives the longest common beginning, and nothing below 16 positions", () => {
    const { tree, sequences } = freshTree();
    tree.insert(Int32Array.of(...ids(20), 7, 7), 1, kind(), undefined);
    tree.insert(ids(50), 2, kind(), undefined);
    expect(tree.match(ids(30), kind())!.length).toBe(30);
    expect(sequences.lengths.get(tree.match(ids(50), kind())!.node.sequence)).toBe(50);
    expect(tree.match(Int32Array.of(...ids(20), 7, 8), kind())!.length).toBe(21);
    expect(tree.match(ids(15), kind())).toBeUndefined();
    tree.insert(ids(15, 1), 1, kind(), undefined);
    expect(tree.numNodes).toBe(3); // the common 20, and two ends
  });

  it("stores what is common once, with the routes of each part, however it was cut", () => {
    const { tree, sequences } = freshTree();
    const texts = [0, 1, 2].map((end) => Int32Array.of(...ids(30), ...ids(20, 500 + end)));
    const routes = texts.map((text) => routesFor(text, "hidden")!);
    for (const [i, text] of texts.entries()) tree.insert(text, i, kind("hidden"), routes[i]);
    expect([...sequences.lengths.values()].sort()).toEqual([30, 50, 50, 50]);
    for (const [i, text] of texts.entries()) {
      const hit = tree.match(text, kind("hidden"))!;
      expect(hit.length).toBe(50);
      // The common part is the first one's; the synthetic routes of equal beginnings are not equal, so the join shows where it is.
      const expected = RouterTrace.concat([routes[0]!.slice(0, 30), routes[i]!.slice(30)]);
      expect(tree.routesOf(hit, kind("hidden"))).toEqual(expected);
    }
  });

  it("keeps keys and values of other interventions apart, and routes of those that share them", () => {
    const { tree } = freshTree();
    tree.insert(ids(40), 1, kind("topk", "a", "a1"), routesFor(ids(40), "topk"));
    expect(tree.match(ids(40), kind("counts", "b", "a1"))).toBeUndefined();
    expect(tree.match(ids(40), kind("counts", "a", "a2"))!.length).toBe(40);
    expect(tree.match(ids(40), kind("topk", "a", "a2"))).toBeUndefined();
    tree.insert(ids(40), 2, kind("logits", "a", "a2"), routesFor(ids(40), "logits"));
    expect(tree.match(ids(40), kind("topk", "a", "a2"))!.length).toBe(40);
    expect(tree.numNodes).toBe(1);
    tree.insert(ids(40), 1, { ...kind(), cacheKey: undefined }, undefined);
    expect(tree.match(ids(40), { ...kind(), cacheKey: undefined })).toBeUndefined();
  });

  it("evicts the leaf that was not used for longest, never what is pinned or leads to something", () => {
    const { tree, sequences } = freshTree();
    const texts = [0, 1, 2].map((end) => Int32Array.of(...ids(30), ...ids(20, 500 + end)));
    for (const [i, text] of texts.entries()) tree.insert(text, i, kind(), undefined);
    expect(tree.bytes).toBe(30 + 3 * 20);
    tree.touch(tree.match(texts[0]!, kind())!.node);
    const { node } = tree.match(texts[1]!, kind())!;
    tree.pin(node);
    expect(tree.evictOne()).toBe(true);
    expect(tree.match(texts[2]!, kind())!.length).toBe(30);
    expect(tree.match(texts[0]!, kind())!.length).toBe(50);
    tree.clear();
    expect(tree.match(texts[0]!, kind())!.length).toBe(30);
    expect(tree.match(texts[1]!, kind())!.length).toBe(50);
    expect(tree.evictOne()).toBe(false);
    tree.unpin(node);
    tree.clear();
    expect([tree.numNodes, tree.bytes, sequences.lengths.size]).toEqual([0, 0, 0]);
  });

  it("weighs the routes that it holds", () => {
    const { tree } = freshTree();
    tree.insert(ids(40), 1, kind(), undefined);
    expect(tree.bytes).toBe(40);
    const routes = routesFor(ids(40), "hidden")!;
    tree.insert(ids(40), 1, kind("hidden"), routes);
    expect(tree.bytes).toBeGreaterThan(40 + routes.hidden!.residual.byteLength);
    tree.clear();
    expect(tree.bytes).toBe(0);
  });
});
