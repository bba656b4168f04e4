/** Token sequences by what they have in common: a tree of stretches, so that each is computed once. */
import { commonPrefix } from "./scheduler/prefix-tree.js";

/** A stretch [from, to) of tokens that the texts below it share. */
export interface TrieNode {
  parent: TrieNode | undefined;
  from: number;
  to: number;
  /** One of the texts below; its first `to` tokens are the path to here. */
  ids: Int32Array;
  /** Texts that have a token in this stretch: indexes into the caller's list. */
  texts: number[];
  children: TrieNode[];
}

/** The trees of texts that are not empty, level by level: a node comes after its parent. */
export function trieLevels(texts: readonly Int32Array[]): TrieNode[][] {
  const order = texts.map((_, index) => index).sort((a, b) => compareIds(texts[a]!, texts[b]!));
  const levels: TrieNode[][] = [];
  let level = split(undefined, 0, order, texts);
  while (level.length > 0) {
    levels.push(level);
    level = level.flatMap((node) => {
      node.children = split(node, node.to, node.texts, texts);
      return node.children;
    });
  }
  return levels;
}

/** Nodes for the texts, in order, that go on at `from`: one for each token that comes there. */
function split(
  parent: TrieNode | undefined,
  from: number,
  sorted: readonly number[],
  texts: readonly Int32Array[],
): TrieNode[] {
  const longer = sorted.filter((text) => texts[text]!.length > from);
  const nodes: TrieNode[] = [];
  for (let low = 0; low < longer.length; ) {
    let high = low + 1;
    const ids = texts[longer[low]!]!;
    while (high < longer.length && texts[longer[high]!]![from] === ids[from]) high++;
    const own = longer.slice(low, high);
    const to = commonPrefix(ids, texts[own.at(-1)!]!);
    nodes.push({ parent, from, to, ids, texts: own, children: [] });
    low = high;
  }
  return nodes;
}

export function compareIds(a: Int32Array, b: Int32Array): number {
  const at = commonPrefix(a, b);
  return at < a.length && at < b.length ? a[at]! - b[at]! : a.length - b.length;
}
