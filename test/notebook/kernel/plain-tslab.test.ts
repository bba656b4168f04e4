/** The package in tslab's own kernel: fewer promises, but models load, types are checked, pictures appear, and evaluations run. */
import { mkdirSync, mkdtempSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { packageRoot } from "../../../src/native/addon.js";
import { only, plainTslab, streamOf, TestKernel } from "./start.js";

describe("plain tslab", () => {
  let folder: string;
  let kernel: TestKernel;
  beforeAll(async () => {
    // As `npm install moescope tslab` leaves a project: the notebook's folder has the package.
    folder = mkdtempSync(join(tmpdir(), "moescope-plain-tslab-"));
    mkdirSync(join(folder, "node_modules"));
    symlinkSync(packageRoot(), join(folder, "node_modules", "moescope"));
    kernel = await TestKernel.start(folder, plainTslab);
  }, 60_000);
  afterAll(async () => {
    await kernel.stop();
    rmSync(folder, { recursive: true, force: true });
  });

  it("loads the model, generates, and scores a benchmark", async () => {
    const run = await kernel.run(`
      import { evaluate, Model, show } from "moescope";
      import { mmluMini } from "moescope/evals";
      const model = await Model.load("demo");
      const chat = await model.generate("2 + 2 =", { maxTokens: 4, trace: "topk" });
      console.log(JSON.stringify(chat.text));
      const run = await evaluate(model, [mmluMini({ limit: 8, form: "cloze" })]);
      console.log(run.tasks[0].metrics[0].estimate.value, chat.trace.numTokens);
    `);
    expect(run.reply.content.status).toBe("ok");
    expect(run.stdout).toMatch(/^" 4[\s\S]*\n1 \d+\n/);
  }, 60_000);

  it("shows a heat map as a picture and a table as HTML", async () => {
    const picture = await kernel.run("await show(chat.trace.expertLoad().heatmap());");
    expect(Object.keys(only(picture.messages, "display_data").data as object)).toEqual(
      expect.arrayContaining(["image/svg+xml", "text/plain"]),
    );
    const table = await kernel.run('await show([{ expert: 5, load: 0.25 }], { title: "Load" });');
    const { data } = only(table.messages, "display_data") as { data: Record<string, string> };
    expect(data["text/html"]).toContain("<table");
    expect(data["text/plain"]).toContain("expert");
  }, 30_000);

  it("checks types: the library's arrays are no `any`", async () => {
    const run = await kernel.run('const wrong: string = (await model.forward([1, 2], { logits: "all" })).logits;');
    expect(run.reply.content.status).toBe("error");
    expect(streamOf(run.messages, "stderr")).toMatch(/Type 'Float32Array.*' is not assignable to type 'string'/);
  }, 30_000);

  it("passes the library's own errors on as text", async () => {
    // For 200 ms after an error it refuses all cells.
    await delay(400);
    const run = await kernel.run('await Model.load("no/such/model");');
    expect(run.reply.content.status).toBe("error");
    expect(streamOf(run.messages, "stderr")).toContain("no/such/model");
  }, 30_000);
});
