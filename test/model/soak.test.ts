/** The short form of scripts/soak.mjs: random requests in random company, on both precisions, with little room for prefixes. */
import { join } from "node:path";
import { expect, it } from "vitest";
import { soak } from "../../scripts/soak/soak.mjs";
import { seededModelFolder } from "../../src/cli/seeded-model.js";
import { Model } from "../../src/model/model.js";
import { packageRoot } from "../../src/native/addon.js";

it.each(["ref", "fast"] as const)(
  "random requests give the same bits in any company, %s",
  async (precision) => {
    const folder = seededModelFolder(join(packageRoot(), "models", "demo"));
    const model = await Model.load(folder, { precision, kvCacheBytes: 3 * 2 ** 20 });
    const tally = await soak(model, { seconds: 2, seed: 5 });
    await model.dispose();
    expect(tally.answered).toBeGreaterThan(5);
    expect(tally.mostActive).toBeGreaterThan(3);
  },
  120_000,
);
