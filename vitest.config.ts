import path from "node:path";
import { defineConfig } from "vitest/config";

const root = import.meta.dirname;

/** Tests import sources, also where a benchmark says `moescope`: no build of the TypeScript is needed to run them. */
const alias = [
  { find: /^moescope$/, replacement: path.join(root, "src/index.ts") },
  { find: /^moescope\/evals$/, replacement: path.join(root, "evals/index.ts") },
];

const REAL = "test/real/**/*.test.ts";
/** Tests that start kernels; those that need Jupyter skip without it. */
const NOTEBOOKS = "test/notebook/kernel/**/*.test.ts";
/** Tests of device cuda, on a card or on the emulated one. */
const DEVICE = "test/device/**/*.test.ts";
/** Without a device library `auto` is the CPU, also where a card is at hand. */
const CPU_ALONE = { MOESCOPE_CUDA_LIBRARY: "" };
const EMULATOR = path.join(root, "native/build/emulator/moescope_cuda_emulated.so");

export default defineConfig({
  test: {
    projects: [
      {
        resolve: { alias },
        test: {
          name: "unit",
          include: ["test/**/*.test.ts"],
          exclude: [REAL, NOTEBOOKS, DEVICE],
          testTimeout: 30_000,
          env: CPU_ALONE,
        },
      },
      {
        resolve: { alias },
        test: {
          name: "emulator",
          include: [DEVICE],
          testTimeout: 300_000,
          hookTimeout: 60_000,
          env: { MOESCOPE_CUDA_LIBRARY: EMULATOR },
        },
      },
      {
        resolve: { alias },
        test: { name: "gpu", include: [DEVICE], testTimeout: 60_000, fileParallelism: false },
      },
      {
        // Kernels take seconds to start and their times are measured, so one test file at a time.
        resolve: { alias },
        test: {
          name: "notebooks",
          include: [NOTEBOOKS],
          testTimeout: 60_000,
          hookTimeout: 60_000,
          fileParallelism: false,
        },
      },
      {
        // Real checkpoints: files of hundreds of megabytes and all cores, so one test file at a time.
        resolve: { alias },
        test: { name: "real", include: [REAL], testTimeout: 600_000, hookTimeout: 600_000, fileParallelism: false },
      },
    ],
  },
});
