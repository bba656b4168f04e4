/** Interrupts: whatever a cell does, it ends within two seconds, and what cells have declared stays. */
import { existsSync, mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { only, streamOf, TestKernel } from "./start.js";

const LIMIT_S = 2;
const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

let kernel: TestKernel;
let out: string;
beforeAll(async () => {
  kernel = await TestKernel.start();
  out = mkdtempSync(join(tmpdir(), "moescope-interrupt-"));
  await kernel.run(
    'import * as moescope from "moescope"; import { join } from "node:path"; const kept = { answer: 42 };',
  );
  await kernel.run('const model = await moescope.Model.load("demo");');
});
afterAll(async () => {
  await kernel.stop();
  rmSync(out, { recursive: true, force: true });
});

describe("an interrupt ends", () => {
  afterEach(async () => {
    const { messages } = await kernel.run("kept.answer");
    expect(only(messages, "execute_result")).toMatchObject({ data: { "text/plain": "42" } });
  });

  it.each([
    ["a loop", "while (true) {}"],
    ["an await that never settles", "await new Promise(() => {});"],
    ["a loop after an await", "await null; while (true) {}"],
    ["a loop of awaits", "for (;;) await new Promise((resolve) => setTimeout(resolve, 20));"],
    ["a loop of awaits that settle at once", "for (;;) await null;"],
    ["a loop over an async generator", "for await (const _ of (async function* () { for (;;) yield 1; })()) {}"],
    ["a loop in a timer", "setTimeout(() => { for (;;); }, 10); await new Promise(() => {});"],
    ["a loop in code that cells did not write", 'await null; new Function("for (;;);")();'],
    ["a loop that catches every error", "for (;;) { try { await new Promise((r) => setTimeout(r, 50)); } catch {} }"],
    ["a loop in a value's own display", '({ [Symbol.for("Jupyter.display")]: () => { for (;;); } })'],
    ["a loop in a value's own text", "({ [Symbol.for('nodejs.util.inspect.custom')]() { for (;;); } })"],
    ["a pattern that backtracks", 'await null; /^(a+)+$/.test("a".repeat(40) + "b");'],
  ])("%s", async (_what, code) => {
    const { reply, seconds } = await kernel.interrupted(code);
    expect(reply.content).toMatchObject({ status: "error", ename: "Interrupted" });
    expect(seconds).toBeLessThan(LIMIT_S);
  });

  it("a type check that takes long, and the next cell is checked as before", { timeout: 120_000 }, async () => {
    // Every step doubles what the checker has to do: 2^30 at the end.
    const slow = `type Tree<D extends unknown[], P extends string = ""> = D["length"] extends 30
      ? P : Tree<[...D, 0], \`\${P}a\`> | Tree<[...D, 0], \`\${P}b\`>;
      const leaf: Tree<[]> = "c"; console.log("it ran");`;
    const { reply, seconds, stdout } = await kernel.interrupted(slow, 1000);
    expect(reply.content).toMatchObject({ status: "error", ename: "Interrupted" });
    expect(seconds).toBeLessThan(LIMIT_S);
    expect(stdout).toBe("");
    expect((await kernel.run("const s: string = kept.answer;")).reply.content.ename).toBe("TypeScriptError");
    expect((await kernel.run("const later: number = kept.answer + 1; later")).reply.content.status).toBe("ok");
  });

  it("an import that takes long, which is whole when it is imported again", async () => {
    const folder = join(kernel.folder, "node_modules", "slow-import");
    mkdirSync(folder, { recursive: true });
    writeFileSync(
      join(folder, "package.json"),
      '{"name": "slow-import", "version": "1.0.0", "main": "i.js", "types": "i.d.ts"}',
    );
    writeFileSync(join(folder, "i.d.ts"), "export declare const value: number;");
    writeFileSync(
      join(folder, "i.js"),
      "const until = globalThis.isFast ? 0 : Date.now() + 8000; while (Date.now() < until); exports.value = 7;",
    );
    const { reply, seconds } = await kernel.interrupted('import { value } from "slow-import"; value', 1000);
    expect(reply.content).toMatchObject({ status: "error", ename: "Interrupted" });
    expect(seconds).toBeLessThan(LIMIT_S);
    await kernel.run("(globalThis as any).isFast = true;");
    const again = await kernel.run('import { value } from "slow-import"; value');
    expect(only(again.messages, "execute_result")).toMatchObject({ data: { "text/plain": "7" } });
  });

  it("a native call in flight, through the ambient signal", async () => {
    const { reply, seconds } = await kernel.interrupted(
      'for (;;) await model.generate("def f(x):", { maxTokens: 900, n: 8, temperature: 1 });',
      1500,
    );
    expect(reply.content).toMatchObject({ status: "error" });
    expect(["Interrupted", "AbortError"]).toContain(reply.content.ename);
    expect(seconds).toBeLessThan(LIMIT_S);
    expect(
      (await kernel.run('(await model.generate("2 + 2 =", { maxTokens: 1 })).tokenIds.length')).reply.content.status,
    ).toBe("ok");
  });

  it("an evaluation, whose run can be resumed at once", async () => {
    const run = join(out, "run");
    const evaluate = (more: string) =>
      `const result = await moescope.evaluate(model, [mmluMini()], { out: ${JSON.stringify(run)}, batchSize: 2, ${more} });`;
    await kernel.run('import { mmluMini } from "moescope/evals";');
    const rows = join(run, "samples.jsonl");
    const { reply, seconds } = await kernel.interrupted(
      evaluate(""),
      () => existsSync(rows) && statSync(rows).size > 0,
    );
    expect(reply.content).toMatchObject({ status: "error", ename: "RunAbortedError" });
    expect(seconds).toBeLessThan(LIMIT_S);
    const { reply: resumed } = await kernel.run(`${evaluate("resume: true")} result.digest.length`);
    expect(resumed.content).toMatchObject({ status: "ok" });
  });
});

describe("after an interrupt", () => {
  it("nothing of the cell appears any more, from its loops, timers and callbacks", async () => {
    const code = `setInterval(() => console.log("interval"), 50);
      const loop = async () => { for (;;) { await new Promise((resolve) => setTimeout(resolve, 30)); console.log("loop"); } };
      void loop();
      await loop();`;
    const { reply, messages } = await kernel.interrupted(code);
    expect(streamOf(messages, "stdout")).toContain("loop");
    const before = kernel.messages.length;
    const { stdout } = await kernel.run("await new Promise((resolve) => setTimeout(resolve, 800)); 0;");
    expect(stdout).toBe("");
    const later = kernel.messages.slice(before).filter(({ parent }) => parent.msg_id === reply.parent.msg_id);
    expect(later).toEqual([]);
  });

  it("cleaning up is let finish", async () => {
    await kernel.run("const log: string[] = [];");
    const { messages } = await kernel.interrupted(
      "try { await new Promise(() => {}); } finally { await null; log.push('closed'); }",
    );
    expect(only(messages, "error")).toMatchObject({ ename: "Interrupted" });
    expect(only((await kernel.run("log")).messages, "execute_result")).toMatchObject({
      data: { "text/plain": "[ 'closed' ]" },
    });
  });

  it("the next cell may work long without being stopped", async () => {
    await kernel.interrupted("while (true) {}");
    const { reply } = await kernel.run("const until = Date.now() + 4000; while (Date.now() < until); 1");
    expect(reply.content.status).toBe("ok");
  });

  it("of an idle kernel the next cell runs", async () => {
    await kernel.client.interrupt();
    await pause(100);
    expect((await kernel.run("1")).reply.content.status).toBe("ok");
  });
});
