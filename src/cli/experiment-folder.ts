/** What an experiment leaves in its folder: `result.json` and a picture of each plot, as SVG and as PNG. */
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fromSystemError, MoescopeError } from "../errors.js";
import { draw, type PlotData } from "../plot/draw.js";
import { Figure, HtmlFigure } from "../plot/figure.js";
import { type Terminal, toJson } from "./io.js";

/** Writes the result and the plots, each under its name; says where they are. A PNG is left out, and that is said, where the system has no font. */
export async function writeExperiment(
  terminal: Terminal,
  out: string,
  result: object,
  plots: Readonly<Record<string, PlotData>>,
  quiet: boolean | undefined,
): Promise<void> {
  const written: string[] = [];
  const write = async (name: string, content: string | Uint8Array) => {
    try {
      await writeFile(join(out, name), content);
    } catch (error) {
      throw fromSystemError(error, `write ${join(out, name)}`);
    }
    written.push(name);
  };
  await mkdir(out, { recursive: true }).catch((error) => {
    throw fromSystemError(error, `create the folder ${out}`);
  });
  await write("result.json", `${toJson(result, 1)}\n`);
  for (const [name, data] of Object.entries(plots)) {
    const figure = draw(data);
    if (figure instanceof HtmlFigure) await write(`${name}.html`, figure.html);
    if (!(figure instanceof Figure)) continue;
    await write(`${name}.svg`, await figure.svg());
    try {
      await write(`${name}.png`, await figure.png());
    } catch (error) {
      if (!(error instanceof MoescopeError && error.code === "NOT_FOUND")) throw error;
      if (!quiet) terminal.note(error.message);
    }
  }
  if (!quiet) terminal.note(`${out}: ${written.join(", ")}`);
}
