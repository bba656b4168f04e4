/** Which device a model is bound to: the CPU, or a card through its own library. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { invalidArgument, MoescopeError } from "../errors.js";
import { packageRoot } from "../native/addon.js";
import type { CacheType, NativeAddon, Precision } from "../native/binding.js";
import type { LoadOptions } from "./load-options.js";
import { fromNativeError } from "./native-error.js";

export const DEVICES = ["auto", "cpu", "cuda"] as const;
export type DeviceKind = (typeof DEVICES)[number];

export interface Device {
  /** What computes, as traces and provenance name it: "cpu avx512", "cuda NVIDIA H100 80GB HBM3". */
  name: string;
  precision: Precision;
  cacheType: CacheType;
  /** Where a card is used: the file of its library, and its memory. */
  card?: { library: string; freeBytes: number };
}

/** File of the CUDA device library; the environment variable MOESCOPE_CUDA_LIBRARY names another. */
export function cudaLibrary(): string {
  return process.env.MOESCOPE_CUDA_LIBRARY ?? join(packageRoot(), "native", "build-cuda", "moescope_cuda.so");
}

/**
 * The device of a load. `auto` takes a card that can be used, unless precision `ref` is asked for, else the CPU.
 * @throws MoescopeError UNSUPPORTED where the device that was named cannot be had
 */
export function chooseDevice(addon: NativeAddon, options: LoadOptions): Device {
  const { device = "auto" } = options;
  if (device === "cpu" || (device === "auto" && options.precision === "ref")) return cpu(addon, options);
  try {
    return cuda(addon, options);
  } catch (error) {
    if (device === "auto" && error instanceof MoescopeError && error.code === "UNSUPPORTED") return cpu(addon, options);
    throw error;
  }
}

function cpu(addon: NativeAddon, { precision = "ref", cacheType = "f32" }: LoadOptions): Device {
  return { name: `cpu ${addon.instructionSet(precision)}`, precision, cacheType };
}

function cuda(addon: NativeAddon, { precision = "fast", cacheType = "bf16" }: LoadOptions): Device {
  const library = cudaLibrary();
  if (precision === "ref") throw invalidArgument("precision", '"fast" on device "cuda"', precision);
  if (!existsSync(library)) {
    throw new MoescopeError(
      "UNSUPPORTED",
      `Expected the library of device cuda at ${library}, there is none: \`npm run build:cuda\` makes it.`,
    );
  }
  try {
    const { name, freeBytes } = addon.deviceInfo(library);
    return { name: `cuda ${name}`, precision, cacheType, card: { library, freeBytes } };
  } catch (error) {
    throw fromNativeError(error);
  }
}
