/** What a caller may say when a model is loaded. */
import type { RopeScalingOverride } from "../checkpoint/rope-scaling.js";
import { invalidArgument } from "../errors.js";
import { CACHE_TYPES, type CacheType, type Precision } from "../native/binding.js";
import { DEVICES, type DeviceKind } from "./device.js";
import type { MemoryPlan } from "./memory-plan.js";

export interface LoadOptions {
  /** Where to compute; "auto" (the default) takes a card that can be used, else the CPU. */
  device?: DeviceKind;
  /** Threads; default: the cores that this process may use. */
  threads?: number;
  /**
   * "ref" (on the CPU alone, where it is the default): fp32 arithmetic on dequantised weights. "fast": weights as they are stored meet activations that are rounded to
   * bf16 (in AMX tiles) or to 8 bits, by what the machine has; the router stays fp32, and bits still do not depend on the batch. They
   * do depend on the way of multiplying, which `device` and every run's provenance name; the environment variable MOESCOPE_FAST picks
   * another one of the machine's.
   */
  precision?: Precision;
  /** Type of the key/value cache, "f32" by default on the CPU and "bf16" on a card; "f32" keeps `ref` exact, "bf16" and "f16" take half the memory, "q8_0" about a quarter. */
  cacheType?: CacheType;
  /** YaRN, in place of what the file says; null turns it off. */
  ropeScaling?: RopeScalingOverride | null;
  /** Context in tokens, in place of what the file says. */
  maxContext?: number;
  /**
   * Bytes for the keys and values of all running texts and of the beginnings that are kept because they may come again. Default: a share
   * of the free memory, room for one text of full length at least where there is that much.
   */
  kvCacheBytes?: number;
  /** A Jinja chat template in place of the model's. */
  chatTemplate?: string;
  signal?: AbortSignal;
  /** Called as loading proceeds. */
  onProgress?: (stage: "opening" | "mapping" | "tokenizer" | "ready") => void;
  /** Called with what the model will take, before anything is loaded. Without it a cell of a notebook says where that does not fit. */
  onMemoryPlan?: (plan: MemoryPlan) => void;
}

/** Throws INVALID_ARGUMENT or UNSUPPORTED before any file is opened. */
export function checkLoadOptions(options: LoadOptions): void {
  const { device = "auto", threads, precision = "ref", cacheType = "f32", kvCacheBytes } = options;
  if (!DEVICES.includes(device)) throw invalidArgument("device", `one of ${DEVICES.join(", ")}`, device);
  if (precision !== "ref" && precision !== "fast") throw invalidArgument("precision", '"ref" or "fast"', precision);
  if (!CACHE_TYPES.includes(cacheType)) {
    throw invalidArgument("cacheType", `one of ${CACHE_TYPES.join(", ")}`, cacheType);
  }
  if (kvCacheBytes !== undefined && !(Number.isSafeInteger(kvCacheBytes) && kvCacheBytes >= 0)) {
    throw invalidArgument("kvCacheBytes", "a whole number of bytes", kvCacheBytes);
  }
  if (threads !== undefined && !(Number.isInteger(threads) && threads >= 1 && threads <= 1024)) {
    throw invalidArgument("threads", "an integer from 1 to 1024", threads);
  }
}
