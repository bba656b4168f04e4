import { join } from "node:path";
import { expect } from "vitest";
import { loadTrace, TraceShards } from "../../src/router/trace-files.js";
import { tokensOf } from "./traced-model.js";

/** Every request's tokens put together from the shards, and how often each prefix stands there. */
export async function stored(out: string): Promise<{ requests: Record<string, number[]>; prefixes: number[] }> {
  const shards = await TraceShards.open(join(out, "trace"));
  const own = new Map<string, { tokens: number[]; prefixId?: string; first: number }>();
  const prefixes = new Map<string, number[]>();
  for (const file of await shards.files()) {
    const { keys, columns } = await loadTrace(file);
    columns.keys.forEach((index, row) => {
      const { run, task, sampleId, request, prefixId } = keys[index]!;
      if (run !== "run" || task !== "toy") throw new Error(`Expected the key of run and toy, got ${run} and ${task}.`);
      const token = columns.tokenIds[row]!;
      if (sampleId === undefined) {
        prefixes.set(prefixId!, [...(prefixes.get(prefixId!) ?? []), token]);
        return;
      }
      const entry = own.get(`${sampleId}/${request}`) ?? { tokens: [], prefixId, first: columns.positions[row]! };
      entry.tokens.push(token);
      own.set(`${sampleId}/${request}`, entry);
    });
  }
  const requests = [...own].map(([key, { tokens, prefixId, first }]) => {
    const prefix = prefixId === undefined ? [] : prefixes.get(prefixId)!;
    expect(first).toBe(prefix.length);
    return [key, [...prefix, ...tokens]] as [string, number[]];
  });
  return { requests: Object.fromEntries(requests), prefixes: [...prefixes.values()].map((tokens) => tokens.length) };
}

/** What `stored` has to find of `size` samples, two requests each. */
export function expectedRoutes(isShared: boolean, size: number): Record<string, number[]> {
  return Object.fromEntries(
    Array.from({ length: 2 * size }, (_, r) => [`${r >> 1}/${r & 1}`, tokensOf(r >> 1, r & 1, isShared)] as const),
  );
}
