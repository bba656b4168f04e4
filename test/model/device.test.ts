/** Devices: what is chosen, and what is said where the one that was named cannot be had. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { chooseDevice } from "../../src/model/device.js";
import { loadAddon } from "../../src/native/addon.js";

const addon = loadAddon();
let folder: string;
let before: string | undefined;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "moescope-device-"));
  before = process.env.MOESCOPE_CUDA_LIBRARY;
  process.env.MOESCOPE_CUDA_LIBRARY = join(folder, "moescope_cuda.so");
});
afterEach(() => {
  if (before === undefined) delete process.env.MOESCOPE_CUDA_LIBRARY;
  else process.env.MOESCOPE_CUDA_LIBRARY = before;
  rmSync(folder, { recursive: true });
});

describe("without a CUDA library", () => {
  it("auto is the CPU, in ref on f32", () => {
    expect(chooseDevice(addon, {})).toEqual({
      name: `cpu ${addon.instructionSet("ref")}`,
      ...{ precision: "ref", cacheType: "f32" },
    });
    expect(chooseDevice(addon, { precision: "fast" }).name).toBe(`cpu ${addon.instructionSet("fast")}`);
  });

  it("cuda says how to make it", () => {
    expect(() => chooseDevice(addon, { device: "cuda" })).toThrow(
      /Expected the library of device cuda at .*moescope_cuda\.so, there is none: `npm run build:cuda` makes it\./,
    );
  });
});

describe("with a file that is no device library", () => {
  it("auto is the CPU, and cuda names the file", () => {
    writeFileSync(process.env.MOESCOPE_CUDA_LIBRARY!, "not a library");
    expect(chooseDevice(addon, {}).card).toBeUndefined();
    expect(() => chooseDevice(addon, { device: "cuda" })).toThrow(
      /The device library .*moescope_cuda\.so does not load/,
    );
  });
});

it("cuda has no precision ref", () => {
  expect(() => chooseDevice(addon, { device: "cuda", precision: "ref" })).toThrow(
    'Expected "fast" on device "cuda" for precision, got "ref"',
  );
});
