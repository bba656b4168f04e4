/**
 * What plain tslab gets wrong, seen from a client. With MOESCOPE_TEST_KERNEL=tslab each test has a fresh kernel of plain tslab and must
 * fail on it: a test that passes there is none of a fault.
 */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it as plainIt, vi } from "vitest";
import { isPlainTslab, only, TestKernel, typesOf } from "./start.js";

/** On plain tslab: passes where the test fails. */
const it = isPlainTslab ? plainIt.fails : plainIt;
if (isPlainTslab) vi.setConfig({ testTimeout: 15_000 });
const [before, after] = isPlainTslab ? [beforeEach, afterEach] : [beforeAll, afterAll];

let kernel: TestKernel;
before(async () => {
  kernel = await TestKernel.start();
});
after(() => kernel.stop());

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

describe("output", () => {
  it("is not lost: 100,000 lines of one cell, in order, in few messages", async () => {
    const { stdout, messages } = await kernel.run("for (let i = 0; i < 100_000; i++) console.log(i);");
    expect(stdout).toBe(Array.from({ length: 100_000 }, (_, i) => `${i}\n`).join(""));
    expect(messages.length).toBeLessThan(1000);
    expect(typesOf(messages).at(-1)).toBe("status");
  });

  it("is not lost: 10,000 displays of one cell", async () => {
    const { messages } = await kernel.run(
      'import { display } from "moescope"; for (let i = 0; i < 10_000; i++) display({ data: { "text/plain": String(i) } });',
    );
    const shown = messages.filter(({ header }) => header.msg_type === "display_data");
    expect(shown.map(({ content }) => (content.data as Record<string, string>)["text/plain"])).toEqual(
      Array.from({ length: 10_000 }, (_, i) => String(i)),
    );
  });

  it("goes to the cell that started it, also when another one runs", async () => {
    const first = await kernel.run('setTimeout(() => console.log("late"), 300); 0;');
    const second = await kernel.run("await new Promise((resolve) => setTimeout(resolve, 700)); 0;");
    expect(second.stdout).toBe("");
    expect(kernel.of(first.reply.parent.msg_id).some(({ content }) => content.text === "late\n")).toBe(true);
  });
});

describe("a cell", () => {
  it("is announced with its number, and its value is a result", async () => {
    const { messages, reply, stdout } = await kernel.run("const six = 6;\nsix * 7");
    expect(typesOf(messages)).toEqual(["status", "execute_input", "execute_result", "status"]);
    const count = reply.content.execution_count;
    expect(only(messages, "execute_input")).toEqual({ code: "const six = 6;\nsix * 7", execution_count: count });
    expect(only(messages, "execute_result")).toMatchObject({ data: { "text/plain": "42" }, execution_count: count });
    expect(stdout).toBe("");
    expect(count).toBeGreaterThan(1);
  });

  it("has a result in every form that its value has", async () => {
    const value = `({ [Symbol.for("Jupyter.display")]: () => ({ "text/plain": "p", "text/html": "<b>p</b>" }) })`;
    expect(only((await kernel.run(value)).messages, "execute_result")).toMatchObject({
      data: { "text/plain": "p", "text/html": "<b>p</b>" },
    });
  });

  it("that throws says name, sentence and its own line", async () => {
    const { messages, reply } = await kernel.run(
      "type Shape = { side: number };\ninterface Other { x: Shape }\nfunction fail(): never {\n  throw new RangeError('too far');\n}\n\nfail();",
    );
    const error = only(messages, "error");
    expect(error).toMatchObject({ ename: "RangeError", evalue: "too far" });
    expect(reply.content).toMatchObject({ status: "error", ename: "RangeError", evalue: "too far" });
    const traceback = (error.traceback as string[]).join("\n");
    expect(traceback).toMatch(/at fail \(cell \d+:4:9\)/);
    expect(traceback).toMatch(/at cell \d+:7:1/);
    expect(traceback).toContain(">    4 |   throw new RangeError('too far');");
    expect(traceback).not.toMatch(/evalmachine|node_modules|node:internal/);
  });

  it("that throws in a function of an earlier cell points there, through awaits and loops", async () => {
    const { reply: earlier } = await kernel.run(
      "async function each(items: number[]): Promise<void> {\n  for await (const item of items) {\n    await null;\n    if (item === 2) throw new Error('at ' + item);\n  }\n}",
    );
    const { messages } = await kernel.run("\nawait each([1, 2, 3]);");
    const traceback = (only(messages, "error").traceback as string[]).join("\n");
    expect(traceback).toContain(`cell ${earlier.content.execution_count}:4:27`);
  });

  it("that the type checker refuses says where", async () => {
    const { messages } = await kernel.run("const a = 1;\nconst b: string = a;");
    const error = only(messages, "error");
    expect(error.ename).toBe("TypeScriptError");
    expect(error.evalue).toBe("2:7 - Type 'number' is not assignable to type 'string'.");
    expect((error.traceback as string[]).join("\n")).toContain("TS2322");
  });

  it("fails by a rejection that nobody handles", async () => {
    const { reply } = await kernel.run('Promise.reject(new Error("nobody")); "done"');
    expect(reply.content).toMatchObject({ status: "error", evalue: "nobody" });
  });

  it("fails by an error in a timer while it runs", async () => {
    const failing = 'setTimeout(() => { throw new Error("in a timer"); }, 50);';
    const { reply } = await kernel.run(`${failing}\nawait new Promise((resolve) => setTimeout(resolve, 3000));`);
    expect(reply.content).toMatchObject({ status: "error", evalue: "in a timer" });
  });

  it("that has ended shows an error of its timer", async () => {
    const { reply } = await kernel.run('setTimeout(() => { throw new Error("afterwards"); }, 100); 0;');
    expect(reply.content.status).toBe("ok");
    await pause(500);
    expect(only(kernel.of(reply.parent.msg_id), "error")).toMatchObject({ evalue: "afterwards" });
  });

  it("cannot end the kernel", async () => {
    const { reply } = await kernel.run("process.exit(3)");
    expect(reply.content).toMatchObject({ status: "error" });
    expect((await kernel.run("six")).reply.content.status).toBe("ok");
  });

  it("that fails aborts those that were sent with it, and no later one", async () => {
    expect(await statusesOfThree(true)).toEqual(["error", "aborted", "aborted"]);
    expect((await kernel.run("1")).reply.content.status).toBe("ok");
  });

  it("that fails aborts nothing where stop_on_error is off", async () => {
    expect(await statusesOfThree(false)).toEqual(["error", "ok", "ok"]);
  });

  async function statusesOfThree(stop_on_error: boolean): Promise<unknown[]> {
    const codes = ["throw new Error('first')", "1", "2"];
    const replies = await Promise.all(codes.map((code) => kernel.client.execute(code, { stop_on_error })));
    return replies.map(({ content }) => content.status);
  }
});

describe("an interrupt", () => {
  it("ends a loop after an await, and what cells have declared stays", async () => {
    await kernel.run("const kept = 42;");
    const { reply, seconds } = await kernel.interrupted("await null; while (true) {}", 1000);
    expect(reply.content.status).toBe("error");
    expect(seconds).toBeLessThan(2);
    expect((await kernel.run("if (kept !== 42) throw new Error('lost');")).reply.content.status).toBe("ok");
  });

  it("ends a loop of awaits, which prints into no later cell", async () => {
    const loop = "for (;;) { await new Promise((resolve) => setTimeout(resolve, 50)); console.log('loop'); }";
    expect((await kernel.interrupted(loop, 1000)).reply.content.status).toBe("error");
    await pause(300); // plain tslab aborts what comes within 200 ms
    const { reply, stdout } = await kernel.run("await new Promise((resolve) => setTimeout(resolve, 500));");
    expect(reply.content.status).toBe("ok");
    expect(stdout).toBe("");
  });
});

describe("requests", () => {
  it("for comms have a reply of their own type", async () => {
    const comms = await kernel.client.request("comm_info_request", { target_name: "jupyter.widget" });
    expect(comms).toMatchObject({ header: { msg_type: "comm_info_reply" }, content: { status: "ok", comms: {} } });
  });

  it("for the history are answered", async () => {
    await kernel.run("const first = 1;");
    const request = { hist_access_type: "tail", n: 1, output: false };
    const { content } = await kernel.client.request("history_request", request);
    expect(content.history).toEqual([[1, expect.any(Number), "const first = 1;"]]);
  });

  it("that are silent say nothing and count as nothing", async () => {
    const before = (await kernel.run("1")).reply.content.execution_count as number;
    const silent = await kernel.run("2", { silent: true });
    expect(typesOf(silent.messages)).toEqual(["status", "status"]);
    expect((await kernel.run("3")).reply.content.execution_count).toBe(before + 1);
  });

  it("for expressions beside a cell are answered one by one", async () => {
    const asked = await kernel.run("const base = 40;", { user_expressions: { sum: "base + 2", bad: "nothing" } });
    expect(asked.reply.content.user_expressions).toMatchObject({
      sum: { status: "ok", data: { "text/plain": "42" } },
      bad: { status: "error" },
    });
  });

  it("for input are put to the front end, and refused where nobody answers", async () => {
    kernel.client.onInput = async (prompt) => `${prompt}!`;
    const { messages } = await kernel.run('import { input } from "moescope";\nawait input("who")');
    expect(only(messages, "execute_result")).toMatchObject({ data: { "text/plain": "'who!'" } });
    kernel.client.onInput = undefined;
    expect((await kernel.run('await input("who")')).reply.content).toMatchObject({ status: "error" });
  });

  it("for documentation tell type and comment, by characters and not by code units", async () => {
    await kernel.run("/** Doubles what it is given. */\nfunction doubled(value: number): number { return 2 * value; }");
    const code = '"\u{1F52C}"; doubled';
    const { content } = await kernel.client.request("inspect_request", {
      code,
      cursor_pos: [...code].length,
      detail_level: 0,
    });
    expect(content.found).toBe(true);
    const text = (content.data as Record<string, string>)["text/plain"];
    expect(text).toContain("function doubled(value: number): number");
    expect(text).toContain("Doubles what it is given.");
    const half = code.slice(0, -3);
    const completed = await kernel.client.request("complete_request", { code: half, cursor_pos: [...half].length });
    expect(completed.content).toMatchObject({
      matches: expect.arrayContaining(["doubled"]),
      cursor_start: 5,
      cursor_end: 9,
    });
  });

  it("whether code is complete: code that is wrong is told from one that is not finished", async () => {
    expect((await kernel.client.request("is_complete_request", { code: "const = 3; let" })).content.status).toBe(
      "invalid",
    );
  });
});
