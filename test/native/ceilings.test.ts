/** Ceilings through the addon: finite positive rates, and sentences for what cannot be measured. */
import { describe, expect, it } from "vitest";
import { loadAddon } from "../../src/native/addon.js";

describe("ceilings", () => {
  const addon = loadAddon();
  const options = { threads: 2, seconds: 0.01, readBytes: 1 << 24 };

  it("are finite and positive", async () => {
    const ceilings = addon.ceilings();
    expect(ceilings[0]).toEqual({ kind: "read", instructions: "memory" });
    for (const [index, { instructions }] of ceilings.entries()) {
      const rate = await addon.measureCeiling(index, options);
      expect(Number.isFinite(rate) && rate > 0, instructions).toBe(true);
    }
  });

  it("are refused where there are none", async () => {
    const missing = addon.measureCeiling(addon.ceilings().length, options);
    await expect(missing).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
    expect(() => addon.measureCeiling(0, { ...options, seconds: Number.NaN })).toThrow(/seconds/);
    await expect(addon.measureCeiling(0, { ...options, readBytes: 5 })).rejects.toMatchObject({
      code: "INVALID_ARGUMENT",
    });
  });
});
