/** The performance model: its bytes are those of the files, its predictions stay below the roofline. */
import { describe, expect, it } from "vitest";
import { CARDS, distinctExperts, predictDecode, predictPrefill } from "../../scripts/cuda/performance-model.mjs";

/** Gigabytes that a token reads, as the sizes of real files give them. */
const BYTES = { BF16: 27.41, Q8_0: 14.58, Q5_K_M: 9.79, Q4_K_M: 8.41 };

/** What ptxas would say of the attention kernel. */
const attention = (registers: number) => [
  { kernel: "attend_kernel<1, 8>", target: 90, registers, spillBytes: 0, stackBytes: 0, sharedBytes: 0 },
];

describe("performance model", () => {
  it.each(Object.entries(BYTES))("reads the bytes of a %s file for one token", (file, gigabytes) => {
    const { bytes } = predictDecode(CARDS.H100, file, 1, 1, []);
    expect(Math.abs(bytes / 1e9 - gigabytes)).toBeLessThan(0.003 * gigabytes);
  });

  it("counts distinct experts as a draw without preference", () => {
    expect(distinctExperts(1)).toBe(8);
    expect(distinctExperts(16)).toBeCloseTo(56.4, 1);
  });

  it.each(Object.entries(CARDS))("stays below the limits of %s", (_name, card) => {
    for (const file of Object.keys(BYTES)) {
      for (const rows of [1, 4, 16]) {
        const { rooflineShare, streamingShare } = predictDecode(card, file, rows, 1000, []);
        expect(rooflineShare).toBeGreaterThan(0.3);
        expect(streamingShare).toBeLessThan(1);
      }
      const { matrixShare } = predictPrefill(card, file, 4096);
      expect(matrixShare).toBeGreaterThan(0.1);
      expect(matrixShare).toBeLessThan(2);
    }
  });

  it("is slower with a longer context, and where registers leave less under way", () => {
    const stepMs = (context: number, registers: number) =>
      predictDecode(CARDS.H200, "Q5_K_M", 1, context, attention(registers)).stepMs;
    expect(stepMs(32768, 32)).toBeGreaterThan(stepMs(1, 32));
    expect(stepMs(32768, 200)).toBeGreaterThan(stepMs(32768, 32));
  });
});
