/** What cells can import, and that nothing they import is silently `any` for the compiler of tslab (TypeScript 5.0.4). */
import { mkdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { withPlainTypedArrays } from "../../../src/notebook/tslab/compiler.js";
import { only, TestKernel } from "./start.js";

let kernel: TestKernel;
beforeAll(async () => {
  kernel = await TestKernel.start(); // in an empty folder: everything comes from the package's own
  await kernel.run(`import * as moescope from "moescope";
    import * as evals from "moescope/evals";
    import { type Float32, tableFromArrays } from "apache-arrow";
    const model = await moescope.Model.load("demo");
    const { logits, trace } = await model.forward([1, 2, 3], { logits: "all", trace: "logits" });
    const table = trace!.toArrow();
    const [score] = await model.loglikelihood([{ context: "2 + 2 =", continuation: " 4" }]);
    const figure = moescope.draw(trace!.expertLoad().heatmap());
    const arrow = tableFromArrays({ a: new Float32Array(3) });`);
});
afterAll(() => kernel.stop());

const write = (name: string, text: string): void => {
  const file = join(kernel.folder, name);
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, text);
};

describe("types", () => {
  it.each([
    ["logits", "Float32Array"],
    ["trace!", "RouterTrace"],
    ["table", "Table<any>"],
    ["table.numRows", "number"],
    ["trace!.expertLoad()", "ExpertLoad"],
    ["trace!.expertLoad().fraction()", "Float64Array"],
    ["score!.logprob", "number"],
    ["score!.tokenLogprobs", "Float32Array"],
    ["model.config.numExperts", "number"],
    ["figure", "Displayable"],
    ["arrow", "Table<{ a: Float32; }>"],
    ["arrow.getChild('a')!.toArray()", "Float32Array"],
    ["await model.generate('a')", "Generation"],
    ["(await model.generate('a')).tokenIds", "Int32Array"],
    ["evals.mmlu()", "Task<"],
    ["moescope.bootstrapInterval", "("],
    ["new Uint8Array(2).buffer", "ArrayBufferLike"],
    ["Buffer.from('a')", "Buffer"],
  ])("of %s is %s", async (expression, type) => {
    // Nothing but never fits never, `any` neither: the refusal names the type.
    const { reply } = await kernel.run(`const refused: never = ${expression};`);
    expect(reply.content.evalue).toContain(`Type '${type}`);
  });

  it("know null and undefined, and stop what does not fit before it runs", async () => {
    expect((await kernel.run("const u: string = undefined;")).reply.content.status).toBe("error");
    expect((await kernel.run("console.log('ran'); const v: number = trace;")).stdout).toBe("");
  });

  it("leave shorthand properties their values from earlier cells", async () => {
    await kernel.run("const { first, second } = { first: 1, second: 2 }; let third = 0;");
    const { stdout } = await kernel.run(
      "({ third } = { third: 3 }); console.log(JSON.stringify(await Promise.resolve({ first, second, third })));",
    );
    expect(stdout.trim()).toBe('{"first":1,"second":2,"third":3}');
  });

  it("of newer declarations are kept: typed arrays with a parameter", async () => {
    write(
      "node_modules/newer/package.json",
      '{"name": "newer", "version": "1.0.0", "type": "module", "exports": {"types": "./i.d.ts", "default": "./i.js"}}',
    );
    write("node_modules/newer/i.js", "export const weights = new Float32Array(2);");
    write(
      "node_modules/newer/i.d.ts",
      "export declare const weights: Float32Array<ArrayBuffer>;\nexport declare function f(): Map<string, Uint8Array<ArrayBufferLike>>;",
    );
    const { reply } = await kernel.run('import { f, weights } from "newer"; const s: string = weights;');
    expect(reply.content.evalue).toContain("Type 'Float32Array' is not assignable to type 'string'");
    expect(
      (await kernel.run('import { f } from "newer"; const m: Map<string, string> = f();')).reply.content.evalue,
    ).toContain("Uint8Array");
    expect(withPlainTypedArrays("a: Float32Array<ArrayBuffer>, b: Array<number>, c: Buffer<A<B>>")).toBe(
      "a: Float32Array, b: Array<number>, c: Buffer",
    );
  });
});

describe("imports", () => {
  it.each([
    [
      "an ES module with exports alone",
      'import PQueue from "p-queue"; new PQueue({ concurrency: 2 }).concurrency',
      "2",
    ],
    ["an ES module that awaits at its top level", 'import * as vega from "vega"; typeof vega.View', "'function'"],
    ["the same by import()", 'typeof (await import("vega-lite")).compile', "'function'"],
    ["a CommonJS package", 'import ss from "simple-statistics"; ss.mean([1, 3])', "2"],
    ["a module of Node", 'import { basename } from "node:path"; basename("/a/b")', "'b'"],
  ])("%s", async (_what, code, value) => {
    expect(only((await kernel.run(code)).messages, "execute_result")).toMatchObject({ data: { "text/plain": value } });
  });

  it("modules of the notebook's folder, again after %reload", async () => {
    write("lib/inner.ts", "export const factor: number = 2;");
    write(
      "lib/scale.ts",
      'import { factor } from "./inner";\nexport const scale = async (x: number): Promise<number> => { await null; return x * factor; };',
    );
    const first = await kernel.run('import { scale } from "./lib/scale";\nawait scale(10)');
    expect(only(first.messages, "execute_result")).toMatchObject({ data: { "text/plain": "20" } });
    write("lib/inner.ts", "export const factor: number = 3;");
    expect((await kernel.run("%reload")).stdout).toContain('import { scale } from "./lib/scale";');
    expect(only((await kernel.run("await scale(10)")).messages, "execute_result")).toMatchObject({
      data: { "text/plain": "30" },
    });
    write("lib/inner.ts", 'export const factor: number = "three";');
    expect((await kernel.run("%reload")).reply.content.status).toBe("error");
  });

  it("a module that is not there is said to be missing", async () => {
    expect((await kernel.run('import x from "no-such-package";')).reply.content.evalue).toContain(
      "Cannot find module 'no-such-package'",
    );
  });
});

describe("at the prompt", () => {
  it("a declaration may come again with another type, and %who lists what there is", async () => {
    await kernel.run("const again = 1; class Thing {}; const rows = [1, 2, 3];");
    await kernel.run('const again = "text";');
    const { stdout } = await kernel.run("%who");
    expect(stdout).toMatch(/^again +string +'text'$/m);
    expect(stdout).toMatch(/^Thing +class$/m);
    expect(stdout).toMatch(/^rows +Array\(3\)$/m);
  });

  it("%time says how long the rest took, and an unknown command is refused by name", async () => {
    const { stdout } = await kernel.run("%time await new Promise((resolve) => setTimeout(resolve, 120));");
    expect(Number(/wall time (\S+) s/.exec(stdout)?.[1])).toBeGreaterThan(0.119);
    expect((await kernel.run("%nothing")).reply.content.evalue).toContain("got %nothing");
  });

  it("a model that does not fit, and other mistakes, are one sentence with a code", async () => {
    const { messages } = await kernel.run('await moescope.Model.load("/nowhere");');
    const { evalue, traceback } = only(messages, "error") as { evalue: string; traceback: string[] };
    expect(evalue).toContain("/nowhere");
    expect(traceback[0]).toContain("(NOT_FOUND)");
  });

  it("figures and plot data are results with a picture", async () => {
    const { messages } = await kernel.run("trace!.expertLoad().heatmap()");
    const { data } = only(messages, "execute_result") as { data: Record<string, unknown> };
    expect(Object.keys(data)).toEqual(expect.arrayContaining(["text/plain", "image/svg+xml"]));
    expect(data["image/svg+xml"]).toContain("<svg");
  });
});
