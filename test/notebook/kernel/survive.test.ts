/** What outlives a kernel, and what two kernels share: runs on disk, and one mapping of a model's weights. */
import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { packageRoot } from "../../../src/native/addon.js";
import { only, streamOf, TestKernel } from "./start.js";

const IMPORTS = 'import * as moescope from "moescope"; import { gsm8kMini, mmluMini } from "moescope/evals";';
const DEMO = join(packageRoot(), "models", "demo");

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "moescope-survive-"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

async function withKernel<T>(work: (kernel: TestKernel) => Promise<T>): Promise<T> {
  const kernel = await TestKernel.start();
  try {
    await kernel.run(IMPORTS);
    return await work(kernel);
  } finally {
    await kernel.stop();
  }
}

describe("a run", () => {
  const digest = async (kernel: TestKernel, out: string, more = ""): Promise<unknown> => {
    await kernel.run('const model = await moescope.Model.load("demo", { threads: 1 });');
    const code = `(await moescope.evaluate(model, [mmluMini({ limit: 30 }), gsm8kMini({ limit: 12 })], { out: ${JSON.stringify(out)}, batchSize: 2${more} })).digest`;
    return only((await kernel.run(code)).messages, "execute_result").data;
  };

  it("of a kernel that is killed goes on in a new one, to the digest of one that was not", {
    timeout: 170_000,
  }, async () => {
    const out = join(folder, "killed");
    const rows = join(out, "samples.jsonl");
    await withKernel(async (kernel) => {
      const cut = digest(kernel, out);
      cut.catch(() => {});
      while (!existsSync(rows) || statSync(rows).size === 0) await pause(5);
      kernel.client.process.kill("SIGKILL");
      await expect(cut).rejects.toThrow("The kernel ended");
    });
    const { status } = JSON.parse(readFileSync(join(out, "run.json"), "utf8"));
    expect(status).not.toBe("complete");
    const numKept = readFileSync(rows, "utf8").trim().split("\n").length;
    await withKernel(async (kernel) => {
      const resumed = await digest(kernel, out, ", resume: true");
      expect(resumed).toEqual(await digest(kernel, join(folder, "whole")));
      const lines = (name: string): number =>
        readFileSync(join(folder, name, "samples.jsonl"), "utf8")
          .trim()
          .split("\n").length;
      expect(lines("killed")).toBe(lines("whole"));
      expect(numKept).toBeLessThan(lines("whole"));
    });
  });
});

describe("two kernels", () => {
  /** Resident, shared-out and private bytes of what a process has mapped of a file. */
  function mappingOf(pid: number, file: string): { rss: number; pss: number; dirty: number } {
    const sum = { rss: 0, pss: 0, dirty: 0 };
    for (const block of readFileSync(`/proc/${pid}/smaps`, "utf8").split(/\n(?=[0-9a-f]+-[0-9a-f]+ )/)) {
      if (!block.split("\n")[0]!.endsWith(file)) continue;
      const field = (name: string): number => 1024 * Number(new RegExp(`^${name}:\\s+(\\d+)`, "m").exec(block)![1]);
      sum.rss += field("Rss");
      sum.pss += field("Pss");
      sum.dirty += field("Private_Dirty");
    }
    return sum;
  }

  it.skipIf(process.platform !== "linux")(
    "that load one file hold its weights once (skipped: no /proc here)",
    { timeout: 120_000 },
    async () => {
      const copy = join(folder, "shared-model"); // nobody else on this machine has it mapped
      cpSync(DEMO, copy, { recursive: true });
      const load = `const model = await moescope.Model.load(${JSON.stringify(copy)}); void (await model.forward(Int32Array.from({ length: 512 }, (_, i) => i)));`;
      await withKernel((first) =>
        withKernel(async (second) => {
          for (const kernel of [first, second]) expect((await kernel.run(load)).reply.content.status).toBe("ok");
          const weights = join(copy, "model.safetensors");
          const { size } = statSync(weights);
          const maps = [first, second].map((kernel) => mappingOf(kernel.client.process.pid!, weights));
          for (const { rss, pss, dirty } of maps) {
            expect(rss).toBeGreaterThan(0.5 * size); // it is really the mapping that was computed with
            expect(dirty).toBe(0);
            expect(pss).toBeLessThan(0.6 * rss); // a page that two processes have counts half in each
          }
        }),
      );
    },
  );
});

describe("a model that does not fit", () => {
  it("is refused in one sentence, or said to have less context than it could", { timeout: 90_000 }, async () => {
    const large = join(folder, "large-context");
    cpSync(DEMO, large, { recursive: true });
    const config = join(large, "config.json");
    const fields = JSON.parse(readFileSync(config, "utf8"));
    writeFileSync(config, JSON.stringify({ ...fields, max_position_embeddings: 100_000_000 }));
    await withKernel(async (kernel) => {
      const load = (options: string) =>
        kernel.run(`{ const m = await moescope.Model.load(${JSON.stringify(large)}, ${options}); await m.dispose(); }`);
      const refused = await load("{ maxContext: 100_000_000 }");
      expect(refused.reply.content).toMatchObject({ status: "error" });
      expect(refused.reply.content.evalue).toMatch(
        /^Keys and values of 100000000 tokens .* are free.*: ask for a shorter context/,
      );
      expect((only(refused.messages, "error").traceback as string[])[0]).toContain("(OUT_OF_MEMORY)");
      const smaller = await load("{}");
      expect(smaller.reply.content).toMatchObject({ status: "ok" });
      expect(streamOf(smaller.messages, "stderr")).toMatch(
        /^Only about \d+ of 100000000 tokens of context fit into memory\.$/m,
      );
      expect(streamOf((await load("{ maxContext: 512 }")).messages, "stderr")).toBe("");
    });
  });
});
