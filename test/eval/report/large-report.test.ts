import { mkdtempSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { evaluate } from "../../../src/index.js";
import { toyModel, toyTask } from "../toy-task.js";
import { CHROMIUM, Page } from "./browser.js";

const reason = CHROMIUM === undefined ? " (skipped: no Chromium in PATH)" : "";
const SIZE = 14_042;

/** Sets a control and gives the milliseconds until the page has drawn the answer, and what the count says. */
const SET = (selector: string, value: string, event: string, wait: number): string => `(async () => {
  const control = document.querySelector(${JSON.stringify(selector)});
  const started = performance.now();
  control.value = ${JSON.stringify(value)};
  control.dispatchEvent(new Event(${JSON.stringify(event)}));
  await new Promise((done) => setTimeout(done, ${wait}));
  await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
  return [performance.now() - started - ${wait}, document.querySelector("[role=status]").textContent];
})()`;

describe.skipIf(reason !== "")(`the report of ${SIZE} samples in a browser${reason}`, () => {
  const out = join(mkdtempSync(join(tmpdir(), "moescope-large-")), "run");
  let page: Page;
  let readyMs: number;
  beforeAll(async () => {
    await evaluate(toyModel(), [toyTask({ size: SIZE })], { out, batchSize: 64 });
    page = await Page.open(`file://${join(out, "report.html")}`, 1280, 900);
    const ready = `new Promise((done) => { const look = () => document.querySelector(".row") === null ? setTimeout(look, 5) : done(performance.now()); look(); })`;
    readyMs = (await page.evaluate(ready)) as number;
  }, 120_000);
  afterAll(() => page?.close());

  it("is there within seconds, from the one file", async () => {
    expect(readyMs).toBeLessThan(5000);
    expect(page.requests.filter((url) => !url.startsWith("data:"))).toEqual([`file://${join(out, "report.html")}`]);
    expect(await page.evaluate("document.querySelectorAll('.row').length")).toBeLessThan(60);
    const { size } = statSync(join(out, "report.html"));
    const shot = await page.photograph(1280, 1600);
    if (process.env.MOESCOPE_SHOTS !== undefined) writeFileSync(join(process.env.MOESCOPE_SHOTS, "report.png"), shot);
    console.log(`report of ${SIZE} samples: ${(size / 1e6).toFixed(1)} MB, drawn after ${Math.round(readyMs)} ms`);
  });

  it.each([
    ["subject", "select[aria-label='task and subject']", "0/0", "change", 0, "2,809 of 14,042 samples"],
    ["verdict", "select[aria-label='verdict']", "wrong", "change", 0, "936 of 14,042 samples"],
    ["search", "input[type=search]", "140", "input", 130, "10 of 14,042 samples"],
  ])("filters by %s at once, and filters add up", async (_what, selector, value, event, wait, count) => {
    const [ms, shown] = (await page.evaluate(SET(selector, value, event, wait))) as [number, string];
    expect(shown).toBe(count);
    expect(ms).toBeLessThan(1000);
  });

  it("scrolls to the last sample, drawing only what is in view", async () => {
    await page.evaluate(SET("input[type=search]", "", "input", 130));
    await page.evaluate(SET("select[aria-label='verdict']", "", "change", 0));
    await page.evaluate(SET("select[aria-label='task and subject']", "", "change", 0));
    await page.evaluate(`(async () => {
      const list = document.querySelector(".list");
      list.scrollTop = list.scrollHeight;
      await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
    })()`);
    const last = await page.evaluate("[...document.querySelectorAll('.row')].at(-1).textContent");
    expect(last).toContain(`${SIZE - 1} + 1`);
    expect(await page.evaluate("document.querySelectorAll('.row').length")).toBeLessThan(60);
  });
});
