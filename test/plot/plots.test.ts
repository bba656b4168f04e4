/** Every plot from small numbers: what it shows is kept in snapshots; each picture was looked at when its snapshot was taken. */

import { describe, expect, it } from "vitest";
import type { MoescopeError } from "../../src/errors.js";
import { draw, mimeBundleOf, type PlotData } from "../../src/plot/draw.js";
import { Figure, type HtmlFigure } from "../../src/plot/figure.js";
import { textWidth } from "../../src/plot/text-width.js";
import { cellSize, sparseLabels } from "../../src/plot/values.js";
import { ExpertLoad } from "../../src/router/expert-load.js";
import { svgOutline } from "./svg-outline.js";

/** 0, 1/4, ... in a fixed pattern. */
const pattern = (length: number, period: number, scale = 0.25): number[] =>
  Array.from({ length }, (_, i) => ((i * 7) % period) * scale);

const PLOTS: readonly PlotData[] = [
  {
    plot: "load-heatmap",
    layers: [1, 3],
    numExperts: 8,
    utilization: [...pattern(8, 9), ...new Array(8).fill(Number.NaN)],
  },
  {
    plot: "domain-heatmap",
    domains: ["law", "code"],
    layers: [0, 1],
    numExperts: 4,
    overUniform: [pattern(8, 9), pattern(8, 5, 0.5)],
  },
  {
    plot: "coactivation",
    layer: 1,
    numExperts: 4,
    pmiCorrected: [0, 1.5, -0.75, Number.NEGATIVE_INFINITY, Number.NaN, -1.5],
  },
  {
    plot: "transitions",
    layers: [0, 1],
    numExperts: 3,
    probability: [0.5, 0.5, 0, 0, 0.25, 0.75, Number.NaN, Number.NaN, Number.NaN],
  },
  {
    plot: "margin-histogram",
    bins: [
      { from: 0, to: 0.5, tokens: 40, flips: 20 },
      { from: 0.5, to: 1, tokens: 20, flips: 1 },
      { from: 1, to: 1.5, tokens: 0, flips: 0 },
    ],
  },
  {
    plot: "forest",
    effect: "change in accuracy, points",
    rows: [
      { label: "layer 3, expert 5", effect: -4, lower: -6, upper: -2 },
      { label: "control", effect: 0.5, lower: -1, upper: 2, control: true },
    ],
  },
  {
    plot: "confidence-line",
    tokens: ["The", " router", "\n"],
    layers: [0, 1],
    routingEntropy: [
      [0.25, 0.5, 0.75],
      [0.5, 0.5, 0.25],
    ],
  },
  {
    plot: "expert-text",
    tokens: ["The", " <b>", "\n", "&"],
    layer: 2,
    experts: [
      [3, 1],
      [0, 3],
      [3, 0],
      [1, 0],
    ],
    weights: [
      [0.5, 0.25],
      [0.75, 0.125],
      [0.5, 0.5],
      [0.5, 0.25],
    ],
  },
];

describe("plots", () => {
  it.each(PLOTS.filter(({ plot }) => plot !== "expert-text").map((data) => [data.plot, data] as const))(
    "%s",
    async (name, data) => {
      const svg = await (draw(data) as Figure).svg();
      await expect(svgOutline(svg)).toMatchFileSnapshot(`snapshots/${name}.txt`);
    },
  );

  it("expert-text escapes what it is given", async () => {
    const { html } = draw(PLOTS.at(-1)!) as HtmlFigure;
    await expect(`${html.replaceAll("><", ">\n<")}\n`).toMatchFileSnapshot("snapshots/expert-text.txt");
    expect(html).not.toContain("<b>");
    expect(html).not.toContain("<script");
  });

  it("have specs that are JSON, NaN and infinities included", () => {
    for (const data of PLOTS) {
      const figure = draw(data);
      if (figure instanceof Figure) expect(JSON.parse(JSON.stringify(figure.spec))).toEqual(figure.spec);
    }
  });

  it("compile without a warning", async () => {
    const { compile } = await import("vega-lite");
    const warnings: unknown[] = [];
    const keep = (...text: unknown[]) => {
      warnings.push(text);
      return logger;
    };
    const pass = () => logger;
    const logger = { level: pass, error: keep, warn: keep, info: pass, debug: pass };
    for (const data of PLOTS) {
      const figure = draw(data);
      if (figure instanceof Figure) compile(figure.spec, { logger: logger as never });
    }
    expect(warnings).toEqual([]);
  });

  it("become PNG, twice the size of the SVG", async (context) => {
    const figure = draw(PLOTS[0]!) as Figure;
    const [, width] = /width="(\d+)/.exec(await figure.svg())!;
    const bytes = await figure.png().catch((error: MoescopeError) => {
      if (error.code === "NOT_FOUND") context.skip(error.message);
      throw error;
    });
    const png = Buffer.from(bytes);
    expect(png.subarray(1, 4).toString()).toBe("PNG");
    expect(Math.abs(png.readUInt32BE(16) - 2 * Number(width))).toBeLessThanOrEqual(2);
  });
});

describe("a domain heat map of many layers", () => {
  it("has a panel for each domain, and a scale on which one busy expert does not hide the others", async () => {
    const layers = Array.from({ length: 28 }, (_, layer) => layer);
    const overUniform = [pattern(28 * 4, 9), pattern(28 * 4, 5)].map((values) => [12, ...values.slice(1)]);
    const figure = draw({ plot: "domain-heatmap", domains: ["law", "code"], layers, numExperts: 4, overUniform });
    const svg = await (figure as Figure).svg();
    expect(svg.match(/>(law|code)<\/text>/g)).toEqual([">law</text>", ">code</text>"]);
    // Of 28 layers every fourth has a label, in both panels.
    expect(svg.match(/>24<\/text>/g)).toHaveLength(2);
    const [, height] = /height="(\d+)/.exec(svg)!;
    expect(Number(height)).toBeLessThan(700);
    // The even share is no paler than a quarter of the scale: a linear one would put it at a twelfth.
    const legend = [...svg.matchAll(/>(0|1|4|12)<\/text>/g)].map(([, text]) => text);
    expect(legend.slice(-4)).toEqual(["0", "1", "4", "12"]);
  });
});

describe("show", () => {
  it("gets the heat map of a load that the router counted", async () => {
    const load = new ExpertLoad(Float64Array.of(4, 0, 2, 2, 2, 2, 1, 3), [1, 3], 4);
    const data: PlotData = load.heatmap("Load");
    expect(data).toMatchObject({ layers: [1, 3], utilization: [2, 0, 1, 1, 1, 1, 0.5, 1.5] });
    const bundle = await mimeBundleOf(data);
    expect(Object.keys(bundle!)).toEqual(["image/svg+xml", "application/vnd.vegalite.v6+json", "text/plain"]);
    expect(bundle!["image/svg+xml"]).toContain(">Load</text>");
  });

  it("gets HTML for a text, and nothing for values that are no plots", async () => {
    expect(Object.keys((await mimeBundleOf(PLOTS.at(-1)))!)).toEqual(["text/html", "text/plain"]);
    for (const value of [1, "text", null, undefined, { a: 1 }]) expect(await mimeBundleOf(value)).toBeUndefined();
  });
});

describe("wrong numbers", () => {
  it.each<[string, unknown, string]>([
    [
      "too few values",
      { plot: "load-heatmap", layers: [0], numExperts: 4, utilization: [1, 1] },
      "Expected 4 values (layers x experts) for utilization, got 2 (number).",
    ],
    [
      "a domain without its row",
      { plot: "domain-heatmap", domains: ["a", "b"], layers: [0], numExperts: 2, overUniform: [[1, 1]] },
      "Expected 2 values (domains) for overUniform, got 1 (number).",
    ],
    [
      "an interval without its estimate",
      { plot: "forest", effect: "x", rows: [{ label: "a", effect: 3, lower: 0, upper: 1 }] },
      'Expected lower <= effect <= upper for rows, got "{"label":"a","effect":3,"lower":0,"upper":1}".',
    ],
    [
      "more flips than tokens",
      { plot: "margin-histogram", bins: [{ from: 0, to: 1, tokens: 1, flips: 2 }] },
      "Expected from < to and 0 <= flips <= tokens for bins",
    ],
    [
      "a token without experts",
      { plot: "expert-text", tokens: ["a"], layer: 0, experts: [[]] },
      'Expected at least one expert for experts of token 0, got "none".',
    ],
    ["a plot that is none", { plot: "pie" }, 'Expected the name of a plot for plot, got "pie".'],
  ])("%s", (_what, data, sentence) => {
    let message = "";
    try {
      draw(data as PlotData);
    } catch (error) {
      message = (error as Error).message.replaceAll('\\"', '"');
      expect(error).toMatchObject({ code: "INVALID_ARGUMENT" });
    }
    expect(message).toContain(sentence);
  });
});

describe("layout", () => {
  it("prints every label up to 16, then at even steps", () => {
    expect(sparseLabels(4)).toEqual([0, 1, 2, 3]);
    expect(sparseLabels(60)).toEqual(Array.from({ length: 15 }, (_, i) => 4 * i));
    expect(sparseLabels(128).length).toBeLessThanOrEqual(16);
    expect(cellSize(64)).toBeLessThan(cellSize(8));
  });

  it("knows wide letters from narrow ones", () => {
    expect(textWidth({ fontSize: 10 }, "mmmm")).toBeGreaterThan(2 * textWidth({ fontSize: 10 }, "llll"));
    expect(textWidth({ fontSize: 20 }, "abc")).toBeCloseTo(2 * textWidth({ fontSize: 10 }, "abc"), 9);
  });
});
