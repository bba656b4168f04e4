/** Bars: when they are sent, which call has one, and what becomes of it. */
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { setAmbientProgress, withProgress } from "../../src/ambient-progress.js";
import { Cell } from "../../src/notebook/cell.js";
import { cellProgress } from "../../src/notebook/cell-progress.js";
import type { DisplayMessage } from "../../src/notebook/host.js";
import { DisplayBar, durationText, progressBar } from "../../src/notebook/progress.js";
import type { Header } from "../../src/notebook/wire/protocol.js";

let shown: { text: string; id: string | undefined; update: boolean | undefined }[];
const send = ({ data, displayId, update }: DisplayMessage): void => {
  shown.push({ text: data["text/plain"] as string, id: displayId, update });
};

beforeEach(() => {
  shown = [];
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
  setAmbientProgress(undefined);
});

describe("a bar", () => {
  it("is sent at most ten times a second, the last report included", () => {
    const bar = new DisplayBar("work", "items", send);
    for (let i = 0; i < 1000; i++) {
      bar.update(i, 1000);
      vi.advanceTimersByTime(2);
    }
    expect(shown.length).toBeGreaterThan(15);
    expect(shown.length).toBeLessThanOrEqual(21);
    vi.advanceTimersByTime(100);
    expect(shown.at(-1)!.text).toContain("999/1,000 items");
    expect(shown.map(({ update }) => update)).toEqual([false, ...shown.slice(1).map(() => true)]);
    bar.end("done");
    expect(shown.at(-1)!.text).toBe(`work ${"█".repeat(23)}░ 999/1,000 items · 2.1 s`);
  });

  it("counts where no total is known, and cuts a long detail", () => {
    new DisplayBar("work", "MB", send).update(1.25, undefined, "x".repeat(1000));
    expect(shown[0]!.text).toMatch(/^work 1\.3 MB · 0\.0 s · x{120}$/);
  });

  it("of a program that writes to no terminal says nothing", () => {
    const write = vi.spyOn(process.stderr, "write").mockReturnValue(true);
    const bar = progressBar("work");
    bar.update(1, 2);
    bar.end("done");
    expect(write).not.toHaveBeenCalled();
    write.mockRestore();
  });

  it.each([
    [0.04, "0.0 s"],
    [9.97, "10 s"],
    [61, "1 min 1 s"],
    [3725, "1 h 2 min"],
  ])("writes %d seconds as %s", (seconds, text) => expect(durationText(seconds)).toBe(text));
});

describe("long calls of a cell", () => {
  const calls = {
    unit: "items",
    move: (bar: { update(done: number, total: number): void }, n: number) => bar.update(n, 9),
  };
  let cell: Cell;
  beforeEach(() => {
    cell = new Cell({ header: {} as Header, identities: [], allowStdin: false }, () => {});
    setAmbientProgress(
      cellProgress(
        () => cell,
        (_cell, message) => send(message),
      ),
    );
  });
  const wait = (ms: number): Promise<unknown> => vi.advanceTimersByTimeAsync(ms);
  const call = (label: string, work: (report: (n: number) => void) => Promise<void>, own?: (n: number) => void) =>
    withProgress(own, { label, ...calls }, work);

  it("show a bar when they have taken half a second, and none before", async () => {
    await call("short", async (report) => {
      report(1);
      await wait(400);
    });
    expect(shown).toEqual([]);
    await call("long", async (report) => {
      report(1);
      await wait(600);
    });
    expect(shown.map(({ text }) => text.replace(/[█░ ]+/, " "))).toEqual([
      "long 1/9 items · 4.0 s left",
      "long 1/9 items · 0.6 s",
    ]);
  });

  it("that others make stand at the bar of the first", async () => {
    await call("outer", async (report) => {
      report(3);
      await call("inner", async (inner) => {
        inner(5);
        await wait(600);
      });
      await wait(600);
    });
    expect(new Set(shown.map(({ id }) => id)).size).toBe(1);
    expect(shown[0]!.text).toMatch(/^outer .*3\/9 items .* inner 5\/9 items$/);
  });

  it("that others make are silent where the caller has reports of its own", async () => {
    const reports: number[] = [];
    await call(
      "outer",
      async (report) => {
        report(3);
        await call("inner", async (inner) => {
          inner(5);
          await wait(2000);
        });
      },
      (n) => reports.push(n),
    );
    expect(shown).toEqual([]);
    expect(reports).toEqual([3]);
  });

  it("take the place of an earlier bar of the same name, and have one of their own in the next cell", async () => {
    const long = () =>
      call("again", async (report) => {
        report(9);
        await wait(600);
      });
    await long();
    await long();
    const ids = new Set(shown.map(({ id }) => id));
    expect(ids.size).toBe(1);
    cell = new Cell({ header: {} as Header, identities: [], allowStdin: false }, () => {});
    await long();
    expect(new Set(shown.map(({ id }) => id)).size).toBe(2);
  });

  it("say at once that they were stopped, by an error and by an interrupt, and move no more", async () => {
    await expect(
      call("failing", async (report) => {
        report(2);
        await wait(600);
        throw new Error("no");
      }),
    ).rejects.toThrow("no");
    expect(shown.at(-1)!.text).toContain("stopped after 0.6 s");
    await call("interrupted", async (report) => {
      report(2);
      await wait(600);
      cell.interrupt();
      expect(shown.at(-1)!.text).toContain("interrupted");
      expect(shown.at(-1)!.text).toContain("stopped after 0.6 s");
      const { length } = shown;
      report(3);
      await wait(600);
      expect(shown).toHaveLength(length);
    });
  });
});
