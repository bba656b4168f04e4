import { createHash, randomBytes } from "node:crypto";
import { readFile, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { gzip } from "node:zlib";
import { fromSystemError, MoescopeError } from "../../errors.js";
import { packageFolder } from "../provenance.js";
import { type ReportData, readReportData } from "./report-data.js";

/** The report of a run: one HTML file that needs nothing else. Its data is in it as gzipped JSON, its script draws what is in view. */

export const REPORT_FILE = "report.html";

/** Scripts of the page in the order in which they run. */
const SCRIPTS = ["dom.js", "scores.js", "experts.js", "samples.js", "main.js"] as const;

/**
 * Writes `report.html` into a run folder. The file appears whole or not at all.
 *
 * @returns its path and size.
 * @throws MoescopeError NOT_FOUND or BAD_FILE for a folder that is no run; RUN_CONFLICT for a run that is not complete; DISK_FULL.
 */
export async function writeReport(folder: string): Promise<{ path: string; bytes: number }> {
  const data = await readReportData(folder);
  const html = await reportPage(data);
  const path = join(folder, REPORT_FILE);
  const temporary = `${path}.${randomBytes(4).toString("hex")}`;
  try {
    await writeFile(temporary, html);
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true });
    throw fromSystemError(error, `write ${path}`);
  }
  return { path, bytes: Buffer.byteLength(html) };
}

/**
 * The page as one text. Whatever a model wrote is data in it: base64 cannot end a script element, the scripts make text nodes alone, and
 * the policy lets no other script or style run and nothing be loaded.
 */
export async function reportPage(data: ReportData): Promise<string> {
  const scripts = await Promise.all(SCRIPTS.map(readPart));
  const script = scripts.join("\n");
  const style = await readPart("report.css");
  const packed = await promisify(gzip)(toJson(data));
  const title = `${data.model.name} on ${data.tasks.map((task) => task.name).join(", ")}`;
  return filled(await readPart("report.html"), {
    "{{policy}}": `default-src 'none'; script-src ${sourceHash(script)}; style-src ${sourceHash(style)}; base-uri 'none'; form-action 'none'`,
    "{{title}}": escapeHtml(title),
    "/* {{style}} */": style,
    "/* {{script}} */": script,
    "{{data}}": packed.toString("base64"),
  });
}

/** Numbers that JSON lacks become strings, as in the run folder; the scripts turn them back. */
function toJson(data: ReportData): string {
  return JSON.stringify(data, (_key, field: unknown) => {
    return typeof field === "number" && !Number.isFinite(field) ? String(field) : field;
  });
}

/** All places of the template filled at once, so that nothing that is filled in is read as a place. */
function filled(template: string, parts: Readonly<Record<string, string>>): string {
  return template.replace(/\/\* \{\{\w+\}\} \*\/|\{\{\w+\}\}/g, (place) => parts[place] ?? place);
}

/** How a content security policy names an inline script or style. */
function sourceHash(text: string): string {
  return `'sha256-${createHash("sha256").update(text, "utf8").digest("base64")}'`;
}

function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, (char) => `&#${char.charCodeAt(0)};`);
}

/** A part of the page; the parts lie in the package as they are, beside the sources. */
async function readPart(name: string): Promise<string> {
  const folder = packageFolder();
  if (folder === undefined)
    throw new MoescopeError("NOT_FOUND", "The folder of the moescope package could not be found.");
  const path = join(folder, "src", "eval", "report", "page", name);
  try {
    return await readFile(path, "utf8");
  } catch (error) {
    throw fromSystemError(error, `read ${path}`);
  }
}
