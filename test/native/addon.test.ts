/** Finding and loading the native addon: once, or with what to do about it. */
import { afterEach, expect, it, vi } from "vitest";

const ADDON = /native[\\/]build[\\/]moescope\.node$/;

afterEach(() => {
  vi.doUnmock("node:fs");
  vi.doUnmock("node:module");
  vi.resetModules();
});

it("loads once", async () => {
  const require = vi.fn(() => ({ availableCores: () => 1 }));
  vi.doMock("node:module", () => ({ createRequire: () => require }));
  const { loadAddon } = await import("../../src/native/addon.js");
  expect(loadAddon()).toBe(loadAddon());
  expect(require).toHaveBeenCalledTimes(1);
});

it("says that it is not built, and how to build it", async () => {
  vi.doMock("node:fs", async (original) => {
    const fs = await original<typeof import("node:fs")>();
    return { ...fs, existsSync: (path: string) => !ADDON.test(path) && fs.existsSync(path) };
  });
  const { loadAddon } = await import("../../src/native/addon.js");
  expect(loadAddon).toThrow(/not built: expected .*moescope\.node\. Run `npm run build`/);
});

it("says that it was built for another machine, and keeps the system's words", async () => {
  const require = () => {
    throw new Error("wrong ELF class");
  };
  vi.doMock("node:module", () => ({ createRequire: () => require }));
  const { loadAddon } = await import("../../src/native/addon.js");
  expect(loadAddon).toThrow(/does not load on .*: wrong ELF class.*another machine/);
});
