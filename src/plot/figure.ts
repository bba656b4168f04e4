/** A plot: a Vega-Lite spec with its data inside, and its pictures. */

import type { TopLevelSpec } from "vega-lite";
import { MoescopeError } from "../errors.js";
import { textWidth } from "./text-width.js";
import { THEME } from "./theme.js";

/** Representations of one object by MIME type, as Jupyter's display messages hold them. */
export type MimeBundle = Record<string, unknown>;

/** Anything that a notebook can show: `show` asks it for its representations. */
export interface Displayable {
  mimeBundle(): Promise<MimeBundle>;
}

export class Figure implements Displayable {
  /** Vega-Lite 6, plain JSON: may be edited, stored, or drawn by any Vega. */
  readonly spec: TopLevelSpec;
  /** One sentence for readers who see no picture. */
  readonly description: string;

  constructor(description: string, spec: TopLevelSpec) {
    this.description = description;
    this.spec = { $schema: "https://vega.github.io/schema/vega-lite/v6.json", description, config: THEME, ...spec };
  }

  /** The picture as SVG text. */
  async svg(): Promise<string> {
    // Loaded on first use: 25 MB of packages, with a top-level await that keeps them out of tslab's require.
    const [vega, vegaLite] = await Promise.all([import("vega"), import("vega-lite")]);
    // Vega offers this place to those who measure text themselves; its types do not know it.
    (vega as unknown as { textMetrics: { width: typeof textWidth } }).textMetrics.width = textWidth;
    const view = new vega.View(vega.parse(vegaLite.compile(this.spec).spec), { renderer: "none" });
    try {
      return await view.toSVG();
    } finally {
      view.finalize();
    }
  }

  /** The picture as PNG bytes, `scale` pixels for each unit of the SVG; 2 is sharp in print. */
  async png(scale: number = 2): Promise<Uint8Array> {
    const { Resvg } = await import("@resvg/resvg-js");
    const font = { loadSystemFonts: true, defaultFontFamily: "DejaVu Sans" };
    const probe = new Resvg('<svg xmlns="http://www.w3.org/2000/svg"><text y="9">x</text></svg>', { font });
    if (probe.getBBox() === undefined) {
      // Without a font the picture would silently have no text.
      throw new MoescopeError("NOT_FOUND", "Expected a font on this system to draw a PNG, found none: use the SVG.");
    }
    return new Resvg(await this.svg(), { font, fitTo: { mode: "zoom", value: scale } }).render().asPng();
  }

  async mimeBundle(): Promise<MimeBundle> {
    return {
      "image/svg+xml": await this.svg(),
      "application/vnd.vegalite.v6+json": this.spec,
      "text/plain": this.description,
    };
  }
}

/** A piece of HTML without scripts. */
export class HtmlFigure implements Displayable {
  readonly html: string;
  readonly description: string;

  constructor(description: string, html: string) {
    this.description = description;
    this.html = html;
  }

  async mimeBundle(): Promise<MimeBundle> {
    return { "text/html": this.html, "text/plain": this.description };
  }
}
