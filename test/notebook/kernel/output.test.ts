/** What a client sees of cells that all goes well with, on plain tslab too: live output, rich displays, whether code is complete. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { only, TestKernel } from "./start.js";

let kernel: TestKernel;
beforeAll(async () => {
  kernel = await TestKernel.start();
});
afterAll(() => kernel.stop());

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

describe("output", () => {
  it("of one display has all MIME types in one message, and can be updated", async () => {
    const { messages } = await kernel.run(`
      import { display } from "moescope";
      display({ data: { "text/plain": "p", "text/html": "<b>p</b>" }, displayId: "bar" });
      display({ data: { "text/plain": "q" }, displayId: "bar", update: true });
    `);
    expect(only(messages, "display_data")).toMatchObject({
      data: { "text/plain": "p", "text/html": "<b>p</b>" },
      transient: { display_id: "bar" },
    });
    expect(only(messages, "update_display_data")).toMatchObject({ data: { "text/plain": "q" } });
  });

  it("comes while a loop holds the thread", async () => {
    const running = kernel.run("console.log('first'); const until = Date.now() + 1500; while (Date.now() < until);");
    let waited = 0;
    const seen = () => kernel.messages.some(({ content }) => content.text === "first\n");
    for (; !seen() && waited < 3000; waited += 50) await pause(50);
    const { seconds } = await running;
    expect(waited / 1000).toBeLessThan(seconds - 0.5);
  });
});

describe("code", () => {
  it.each([
    ["const a = 1", "complete"],
    ["%who", "complete"],
    ["function f() {", "incomplete"],
    ["const a = [1,", "incomplete"],
  ])("whether %j is complete: %s", async (code, status) => {
    expect((await kernel.client.request("is_complete_request", { code })).content.status).toBe(status);
  });
});
