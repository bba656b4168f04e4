/** `chat`: one answer for a script, a conversation by hand, and transformers' tokens. */
import { readFileSync } from "node:fs";
import { PassThrough } from "node:stream";
import { describe, expect, it } from "vitest";
import { run } from "../../src/cli/run.js";
import { Model } from "../../src/model/model.js";
import { ints, readSafetensors } from "../golden/safetensors.js";
import { describeWithGoldens, sharedPath } from "../golden/shared.js";
import { runCli } from "./run-cli.js";
import { seededModel } from "./seeded.js";

const call = (...more: string[]) => ["chat", seededModel(), "--max-tokens", "8", ...more];

describe("chat", () => {
  it("answers a message the same from an option and from a pipe", async () => {
    const fromOption = await runCli(call("--message", "hello"));
    const fromPipe = await runCli(call(), { stdin: "hello\n" });
    expect(fromOption.code).toBe(0);
    expect(fromPipe.stdout).toBe(fromOption.stdout);
    expect(fromOption.stderr).toContain("8 tokens");
  });

  it("keeps the conversation over several messages", async () => {
    const { stdout } = await runCli(call("--json", "--message", "hello", "--message", "and now?"));
    const [first, second] = stdout
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line));
    const model = await Model.load(seededModel());
    const expected = await model.chat(
      [
        { role: "user", content: "hello" },
        { role: "assistant", content: first.text },
        { role: "user", content: "and now?" },
      ],
      { maxTokens: 8 },
    );
    await model.dispose();
    expect(second.tokenIds).toEqual(Array.from(expected.tokenIds));
    expect(second.usage.promptTokens).toBe(expected.promptIds.length);
  });

  it("obeys its commands at a terminal", async () => {
    const stdin = Object.assign(new PassThrough(), { isTTY: true });
    const [stdout, stderr] = [new PassThrough(), new PassThrough()];
    const shown: string[] = [];
    stdout.on("data", (chunk) => shown.push(String(chunk)));
    stderr.resume();
    const code = run(call(), { stdin, stdout, stderr });
    const lines = ["/experts", "hello", "/experts", "/sytem", "/system Be brief.", "/reset", "/experts", "/quit"];
    for (const line of lines) stdin.write(`${line}\n`);
    expect(await code).toBe(0);
    const text = shown.join("");
    expect(text).toContain("There is no answer yet.");
    expect(text.match(/layer 3 │/g)).toHaveLength(1);
    expect(text).toContain(
      "Expected one of /reset, /system, /experts, /quit, /help, got /sytem; did you mean /system?",
    );
    expect(text).toContain("The conversation starts anew with this system message.");
  });
});

describeWithGoldens("chat on golden models", "golden/models", () => {
  const inputs = JSON.parse(readFileSync(sharedPath("golden/models/inputs.json"), "utf8")) as { chat: number[] };

  it("draws transformers' greedy tokens", async () => {
    const path = sharedPath("golden/models/qwen2moe-e8k2");
    const model = await Model.load(path);
    const rendered = model.tokenizer.decode(inputs.chat);
    await model.dispose();
    const messages = [...rendered.matchAll(/<\|im_start\|>(\w+)\n([\s\S]*?)<\|im_end\|>/g)].map(([, role, text]) => [
      role,
      text!,
    ]);
    const system = messages.find(([role]) => role === "system")?.[1];
    const user = messages.find(([role]) => role === "user")![1]!;
    const expected = ints(readSafetensors(`${path}/expected.safetensors`), "chat.greedy_ids");
    const argv = ["chat", path, "--message", user, "--max-tokens", String(expected.length), "--json"];
    const { stdout } = await runCli(system === undefined ? argv : [...argv, "--system", system]);
    const { tokenIds, usage } = JSON.parse(stdout);
    expect(usage.promptTokens).toBe(inputs.chat.length);
    expect(tokenIds.length).toBeGreaterThan(4);
    // An end-of-text token stops us where the reference went on.
    expect(tokenIds).toEqual(Array.from(expected).slice(0, tokenIds.length));
  });
});
