/** Bars of long calls in cells: one display that is updated, at most ten times a second, and gone from later cells. */
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { packageRoot } from "../../../src/native/addon.js";
import type { KernelMessage } from "../../../src/notebook/client.js";
import { streamOf, TestKernel } from "./start.js";

let kernel: TestKernel;
beforeAll(async () => {
  kernel = await TestKernel.start();
  await kernel.run('import * as moescope from "moescope"; import { gsm8kMini, mmluMini } from "moescope/evals";');
  await kernel.run('const model = await moescope.Model.load("demo", { threads: 1 });');
});
afterAll(() => kernel.stop());

const displaysOf = (messages: readonly KernelMessage[]): KernelMessage[] =>
  messages.filter(({ header }) => /display_data$/.test(header.msg_type));
const idOf = ({ content }: KernelMessage): string => (content.transient as { display_id: string }).display_id;
const textOf = ({ content }: KernelMessage): string => (content.data as Record<string, string>)["text/plain"]!;

function expectOneBar(messages: readonly KernelMessage[], seconds: number): string[] {
  const displays = displaysOf(messages);
  expect(displays.map(({ header }) => header.msg_type).slice(0, 2)).toEqual(["display_data", "update_display_data"]);
  expect(new Set(displays.map(idOf)).size).toBe(1);
  // Ten a second, the first and the last one, and one more for the clock.
  expect(displays.length).toBeLessThanOrEqual(10 * seconds + 3);
  expect(displays.slice(1).every(({ header }) => header.msg_type === "update_display_data")).toBe(true);
  return displays.map(textOf);
}

describe("a bar", () => {
  it("follows an evaluation and stays with what it came to", async () => {
    const { messages, seconds } = await kernel.run(
      "void (await moescope.evaluate(model, [gsm8kMini({ limit: 200 })]));",
    );
    const texts = expectOneBar(messages, seconds);
    expect(texts[0]).toMatch(/^evaluate [█░]{24} \d+\/200 samples · /);
    expect(texts.at(-1)).toMatch(/^evaluate █{24} 200\/200 samples · \d+(\.\d)? s · gsm8k-mini/);
    expect(streamOf(messages, "stderr")).toBe("");
  });

  it("of a call that makes others is the only one, and a silent one silences them", async () => {
    const scan = (more: string): string => `void (await moescope.ablationScan(
      model, moescope.taskQuestions([mmluMini({ limit: 60 })]), { experts: [{ layer: 1, expert: 0 }, { layer: 2, expert: 1 }], controls: 1${more} }));`;
    const { messages, seconds, reply } = await kernel.run(scan(""));
    expect(reply.content.status).toBe("ok");
    expect(expectOneBar(messages, seconds).at(-1)).toMatch(/^ablate █{24} 4\/4 experts/);
    const own = await kernel.run(scan(", onProgress: (done) => console.log(done)"));
    expect(displaysOf(own.messages)).toEqual([]);
    expect(own.stdout).toContain("4\n");
  });

  it("shows tokens of a long generation, and takes the place of the one before it", async () => {
    const { messages, reply, seconds } = await kernel.run(
      'for (const _ of [1, 2]) await model.generate("def f(x):", { maxTokens: 600, n: 200, temperature: 1, seed: 1 });',
    );
    expect(reply.content.status).toBe("ok");
    expect(expectOneBar(messages, seconds).at(-1)).toMatch(/tokens · .* tokens\/s$/);
  });

  it("does not appear for what is done at once", async () => {
    const { messages } = await kernel.run('void (await model.generate("2 + 2 =", { maxTokens: 2 }));');
    expect(displaysOf(messages)).toEqual([]);
  });

  it("says that an interrupt has stopped it, and moves no more", async () => {
    const earlier = kernel.messages.length;
    const { messages, reply } = await kernel.interrupted(
      "for (;;) await moescope.evaluate(model, [gsm8kMini()]);",
      () => displaysOf(kernel.messages.slice(earlier)).length > 2,
    );
    expect(reply.content.status).toBe("error");
    expect(expectOneBar(messages, 60).at(-1)).toContain("stopped after");
    const before = kernel.messages.length;
    await kernel.run("await new Promise((resolve) => setTimeout(resolve, 500));");
    expect(displaysOf(kernel.messages.slice(before))).toEqual([]);
  });

  it("of one's own work is the same display", async () => {
    const { messages, seconds } = await kernel.run(`const bar = moescope.progressBar("counting <b>", { unit: "texts" });
      for (let i = 1; i <= 300; i++) { bar.update(i, 300, "row " + i); await new Promise((resolve) => setTimeout(resolve, 3)); }
      bar.end("done"); bar.update(1, 300);`);
    expect(expectOneBar(messages, seconds).at(-1)).toMatch(/^counting <b> █{24} 300\/300 texts · .* · row 300$/);
    const html = (displaysOf(messages).at(-1)!.content.data as Record<string, string>)["text/html"];
    expect(html).toContain("counting &lt;b&gt;");
    expect(html).toContain('<progress value="1.0000" max="1">');
  });
});

describe("a download", () => {
  let server: Server;
  beforeAll(async () => {
    server = createServer((_request, response) => {
      response.writeHead(200, { "content-length": 10_000_000 });
      let sent = 0;
      const timer = setInterval(() => {
        response.write(Buffer.alloc(1_000_000));
        if (++sent < 10) return;
        clearInterval(timer);
        response.end();
      }, 150);
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  });
  afterAll(() => void server.close());

  it("has a bar in megabytes", async () => {
    const module = join(packageRoot(), "dist", "src", "hub", "download.js");
    const { port } = server.address() as AddressInfo;
    const { messages, seconds, reply } = await kernel.run(
      `await require(${JSON.stringify(module)}).download({ url: "http://127.0.0.1:${port}/file.bin", path: ${JSON.stringify(`${kernel.folder}/file.bin`)} });`,
    );
    expect(reply.content).toMatchObject({ status: "ok" });
    expect(expectOneBar(messages, seconds).at(-1)).toMatch(/^download file.bin █{24} 10\/10 MB/);
  });
});
