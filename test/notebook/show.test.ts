/** What `show` makes of tables, plots, traces, runs and models: several forms at once, and never more than a page. */
import { tableFromArrays } from "apache-arrow";
import { describe, expect, it } from "vitest";
import { mmluMini } from "../../evals/index.js";
import { compare, evaluate, Model, scriptedModel, showBundle } from "../../src/index.js";

const text = (bundle: Record<string, unknown>) => bundle["text/plain"] as string;

describe("show of a table", () => {
  const rows = Array.from({ length: 5000 }, (_, i) => ({ name: `row ${i}`, value: i === 7 ? Number.NaN : i / 3 }));

  it("prints a page with types and counts what is left", async () => {
    const bundle = await showBundle(rows);
    expect(text(bundle).split("\n")).toHaveLength(2 + 20 + 1);
    expect(text(bundle)).toMatch(/^name +value\nstring +number\n/);
    expect(text(bundle)).toContain("rows 0 to 19 of 5,000 (from: 20 shows the next)");
    expect(text(await showBundle(rows, { from: 4990 }))).toMatch(/rows 4990 to 4999 of 5,000$/);
    expect((bundle["text/html"] as string).match(/<tr>/g)).toHaveLength(21);
  });

  it("sorts, and leaves what is no number to the end", async () => {
    expect(text(await showBundle(rows, { sort: "-value", rows: 1 }))).toContain("row 4999");
    expect(text(await showBundle(rows, { sort: "value", from: 4999 }))).toContain("row 7 ");
    await expect(showBundle(rows, { sort: "size" })).rejects.toThrow("one of the columns name, value");
  });

  it("cuts long texts, long lists and wide tables with their counts", async () => {
    const wide = Object.fromEntries(Array.from({ length: 30 }, (_, i) => [`column${i}`, i]));
    const bundle = await showBundle([{ long: "x".repeat(100_000), list: new Float32Array(5000), ...wide }]);
    expect(text(bundle)).toContain("… (100,000 characters)");
    expect(text(bundle)).toContain("… (5000)]");
    expect(text(bundle)).toContain("8 of 32 columns are not shown");
    expect(JSON.stringify(bundle).length).toBeLessThan(10_000);
  });

  it("takes Arrow tables with the types of their columns, and escapes HTML", async () => {
    const dated = await showBundle([{ at: new Date(0), bad: new Date(Number.NaN) }]);
    expect(text(dated)).toContain("1970-01-01T00:00:00.000Z  invalid date");
    const table = tableFromArrays({ token: ["<b>", "c"], logit: Float32Array.of(0.5, -1.25) });
    const bundle = await showBundle(table);
    expect(text(bundle)).toContain("Float32");
    expect(text(bundle)).toContain("-1.25");
    expect(bundle["text/html"]).toContain("&lt;b&gt;");
  });

  it("refuses a page that would freeze a browser", async () => {
    await expect(showBundle(rows, { rows: 1e6 })).rejects.toThrow("1 to 1000");
  });
});

describe("show of what the library returns", () => {
  it("shows models, traces, coloured text and plots", async () => {
    const model = await Model.load("demo");
    try {
      expect(text(await showBundle(model))).toMatch(/architecture +qwen2_moe/);
      const ids = await model.tokenizer.encode("2 + 2 =");
      const { trace } = await model.forward(ids, { trace: "topk" });
      const picture = await showBundle(trace);
      expect(Object.keys(picture)).toEqual(
        expect.arrayContaining(["image/svg+xml", "application/vnd.vegalite.v6+json", "text/plain"]),
      );
      expect(text(picture)).toContain(`${ids.length} tokens in 5 layers, 2 experts each`);
      const tokens = Array.from(ids, (_, i) => `t${i} `);
      const colored = await showBundle(trace, { tokens, layer: 3 });
      const first = trace!.columns.topkExperts[3 * trace!.topK];
      expect(text(colored)).toContain(`t0 [${first}]`);
      await expect(showBundle(trace, { tokens: ["one"] })).rejects.toThrow(`${ids.length} tokens`);
      const png = (await showBundle(trace!.expertLoad().heatmap()))["image/png"] as string | undefined;
      if (png !== undefined) expect(Buffer.from(png, "base64").subarray(1, 4).toString()).toBe("PNG");
    } finally {
      await model.dispose();
    }
  });

  it("shows what a model wrote as text, with how it ended", async () => {
    const model = await Model.load("demo");
    try {
      const generation = await model.generate("2 + 2 =", { maxTokens: 3, n: 30, temperature: 1, seed: 1 });
      const bundle = await showBundle(generation, { title: "A <sum>" });
      expect(text(bundle)).toMatch(/^A <sum>\n/);
      expect(text(bundle)).toContain(`${generation.samples[1]!.text}\n  text 1: `);
      expect(text(bundle)).toMatch(/5 tokens read, \d+ written; 10 of 30 texts are not shown$/);
      expect(bundle["text/html"]).toContain("<b>A &lt;sum&gt;</b>");
      const long = { ...generation, samples: [{ ...generation.samples[0]!, text: "<".repeat(1e6) }] };
      const cut = await showBundle(long);
      expect(text(cut)).toContain("… (1,000,000 characters)");
      expect(JSON.stringify(cut).length).toBeLessThan(150_000);
      const load = await showBundle(generation.trace ?? (await model.expertLoad()));
      expect(Object.keys(load)).toEqual(expect.arrayContaining(["image/svg+xml", "text/plain"]));
    } finally {
      await model.dispose();
    }
  });

  it("shows two runs side by side, and what does not match in them", async () => {
    const run = (answer: string) => evaluate(scriptedModel({ chat: () => answer }), [mmluMini({ limit: 5 })]);
    const [a, b] = [await run("The answer is A."), await run("The answer is B.")];
    const bundle = await showBundle(compare(a, b));
    expect(text(bundle)).toMatch(/task +track +metric +n +a +b +b - a +95 % interval/);
    expect(text(bundle)).toContain("only a");
    expect(text(bundle)).not.toContain("unmatched");
    const doubtful = compare(a, b).map((row) => ({ ...row, unmatched: 2, differentPrompts: 3 }));
    expect(text(await showBundle(doubtful))).toMatch(/unmatched +different prompts/);
  });

  it("shows a run with its intervals", async () => {
    const run = await evaluate(scriptedModel({ chat: () => "no answer" }), [mmluMini({ limit: 3 })]);
    expect(text(await showBundle(run))).toMatch(/mmlu-mini .*\[0, /);
  });

  it("colours the first tokens of a long text and counts the others", async () => {
    const model = await Model.load("demo");
    try {
      const ids = Array.from({ length: 1000 }, (_, i) => i + 1);
      const { trace } = await model.forward(ids, { trace: "topk" });
      const tokens = ids.map((id) => `w${id} `);
      const bundle = await showBundle(trace, { tokens, rows: 10, from: 20 });
      expect(text(bundle)).toContain("tokens 20 to 29 of 1,000 (from: 30 shows the next)");
      expect(text(bundle)).toContain("w21 [");
      expect(text(bundle)).not.toContain("w31 ");
      expect(JSON.stringify(await showBundle(trace, { tokens })).length).toBeLessThan(300_000);
    } finally {
      await model.dispose();
    }
  });

  it("cuts an object of many fields with a count", async () => {
    const large = Object.fromEntries(Array.from({ length: 100_000 }, (_, i) => [`key${i}`, i]));
    expect(text(await showBundle(large))).toMatch(/\n… [\d,]+ of [\d,]+ characters are not shown$/);
    expect(text(await showBundle(large)).length).toBeLessThan(21_000);
  });

  it("prints anything else as text", async () => {
    expect(await showBundle(42)).toEqual({ "text/plain": "42" });
  });
});
