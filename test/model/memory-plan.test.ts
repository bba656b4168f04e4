/** What a model takes against what is free: bounds of cgroups, the share of the cache, errors and warnings. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Checkpoint, openCheckpoint } from "../../src/checkpoint/checkpoint.js";
import { seededModelFolder } from "../../src/cli/seeded-model.js";
import { availableMemory } from "../../src/model/available-memory.js";
import { checkMemory, formatMemoryPlan, type MemoryPlanOptions, memoryPlan } from "../../src/model/memory-plan.js";
import { Model } from "../../src/model/model.js";
import { readRate } from "../../src/model/read-rate.js";
import { packageRoot } from "../../src/native/addon.js";

const MIB = 2 ** 20;
const folders: string[] = [];
afterAll(() => {
  for (const folder of folders) rmSync(folder, { recursive: true });
});

/** A root with these files. */
function rootWith(files: Record<string, string>): string {
  const root = mkdtempSync(join(tmpdir(), "moescope-memory-"));
  folders.push(root);
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(join(root, path, ".."), { recursive: true });
    writeFileSync(join(root, path), text);
  }
  return root;
}

const MEMINFO = { "proc/meminfo": "MemTotal: 8388608 kB\nMemFree: 1000 kB\nMemAvailable:    4194304 kB\n" };

describe("available memory", () => {
  it("is what the system can free", () => {
    expect(availableMemory(rootWith(MEMINFO))).toEqual({ bytes: 4096 * MIB, boundBy: "system" });
    expect(availableMemory().bytes).toBeGreaterThan(0);
  });

  it("is bound by the smallest limit of the cgroups above, v2, where file pages count as free", () => {
    const root = rootWith({
      ...MEMINFO,
      "proc/self/cgroup": "0::/a/b\n",
      "sys/fs/cgroup/a/b/memory.max": "max\n",
      "sys/fs/cgroup/a/b/memory.current": "5\n",
      "sys/fs/cgroup/a/memory.max": `${1000 * MIB}\n`,
      "sys/fs/cgroup/a/memory.current": `${900 * MIB}\n`,
      "sys/fs/cgroup/a/memory.stat": `anon 7\ninactive_file ${300 * MIB}\nactive_file ${100 * MIB}\n`,
    });
    expect(availableMemory(root)).toEqual({ bytes: 500 * MIB, boundBy: "cgroup" });
  });

  it("is bound by a limit of v1, also where the path is that outside of a container", () => {
    const root = rootWith({
      ...MEMINFO,
      "proc/self/cgroup": "5:cpu:/x\n4:memory:/docker/123\n0::/\n",
      "sys/fs/cgroup/memory/memory.limit_in_bytes": `${64 * MIB}`,
      "sys/fs/cgroup/memory/memory.usage_in_bytes": `${60 * MIB}`,
      "sys/fs/cgroup/memory/memory.stat": `cache 1\ntotal_inactive_file ${8 * MIB}\n`,
    });
    expect(availableMemory(root)).toEqual({ bytes: 12 * MIB, boundBy: "cgroup" });
  });
});

describe("memory plan", () => {
  let checkpoint: Checkpoint;
  let folder: string;
  beforeAll(async () => {
    folder = seededModelFolder(join(packageRoot(), "models", "demo"));
    checkpoint = await openCheckpoint(folder);
  });

  const planWith = (bytes: number, options: Partial<MemoryPlanOptions> = {}) =>
    memoryPlan(checkpoint, {
      stepRows: 256,
      available: { bytes, boundBy: "cgroup" },
      measureReadRate: () => 100 * MIB,
      ...options,
    });

  it("leaves the weights their room before the cache takes its share, up to what is plenty", () => {
    const { weights, kvFullContext, kvCacheBytes, workspace, paging } = planWith(64 * 1024 * MIB);
    expect(kvFullContext).toBe(2048 * 1024);
    expect(kvCacheBytes).toBe(256 * MIB);
    expect(paging).toBeNull();
    const tight = planWith(workspace + weights + 100 * MIB);
    expect(tight.kvCacheBytes).toBe(50 * MIB);
    expect(planWith(64 * 1024 * MIB, { kvCacheBytes: 7 }).kvCacheBytes).toBe(7);
  });

  it("expects a token to read the experts that are not in memory, or everything where not even the rest is", () => {
    const { weights, kvFullContext, workspace } = planWith(64 * 1024 * MIB);
    const { numExperts, numExpertsPerToken } = checkpoint.config;
    const bytesOf = (part: RegExp) =>
      checkpoint.plan.tensors
        .filter(({ role }) => part.test(role))
        .reduce((sum, { rows, cols }) => sum + rows * cols * 4, 0); // all F32
    const experts = bytesOf(/\.experts\./);
    // Of an embedding that is not the output matrix as well, a token reads one row.
    const rows = checkpoint.config.tieWordEmbeddings ? 0 : bytesOf(/^embed$/);
    const missing = Math.round(experts / 4);
    const room = weights - rows - missing;
    const plan = planWith(workspace + kvFullContext + room);
    const perToken = (missing * numExpertsPerToken) / numExperts;
    expect(Math.abs(plan.paging!.bytesPerToken - perToken)).toBeLessThanOrEqual(1);
    expect(plan.paging!.tokensPerSecond).toBeCloseTo((100 * MIB) / perToken, 3);
    expect(formatMemoryPlan(plan)).toMatch(/read again from storage.*100 MiB per second, as measured, expect up to/);
    const less = planWith(workspace + kvFullContext + MIB);
    const all = weights - rows - experts + (experts * numExpertsPerToken) / numExperts;
    expect(Math.abs(less.paging!.bytesPerToken - all)).toBeLessThanOrEqual(1);
    expect(formatMemoryPlan(planWith(MIB, { measureReadRate: () => undefined }))).toMatch(/could not be measured/);
  });

  it("refuses a context that was asked for and does not fit, in one sentence that says what would", () => {
    const { workspace, kvPerToken } = planWith(1024 * MIB);
    const plan = planWith(workspace + 500 * kvPerToken);
    expect(() => checkMemory(plan, 1000)).toThrow(
      /1000 tokens.*in this cgroup, enough for 500 tokens: ask for a shorter/,
    );
    expect(() => checkMemory(plan, 500)).not.toThrow();
    // Nobody asked for all of the model's context: a warning, unless nothing useful fits.
    expect(() => checkMemory(plan, undefined)).not.toThrow();
    expect(formatMemoryPlan(plan)).toMatch(/Only about 500 of 1024 tokens/);
    expect(() => checkMemory(planWith(workspace), undefined)).toThrow(/256 tokens/);
  });

  it("is there before anything is loaded, and on the model", async () => {
    const stages: string[] = [];
    const model = await Model.load(folder, {
      kvCacheBytes: 5 * MIB,
      onProgress: (stage) => stages.push(stage),
      onMemoryPlan: ({ kvCacheBytes }) => stages.push(String(kvCacheBytes)),
    });
    expect(stages.indexOf(String(5 * MIB))).toBeLessThan(stages.indexOf("mapping"));
    expect(model.memoryPlan.kvCacheBytes).toBe(5 * MIB);
    await model.dispose();
    await expect(Model.load(folder, { kvCacheBytes: -1 })).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
  });
});

it("a read rate is measured past the page cache, or not at all", () => {
  const rate = readRate(process.execPath); // some 100 MB, surely in the page cache
  if (rate !== undefined) expect(rate).toBeGreaterThan(0);
  expect(readRate("/nowhere")).toBeUndefined();
  expect(readRate(import.meta.filename)).toBeUndefined();
});
