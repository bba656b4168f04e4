#!/usr/bin/env node
/**
 * The table of speed in README.md, from a file of bench/results: node scripts/speed-table.mjs FILE.json
 * It stands between two comments, so that figures are measured and never typed.
 */
import fs from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";

const README = path.join(path.dirname(path.dirname(fileURLToPath(import.meta.url))), "README.md");
const BEGIN = "<!-- speed: written by scripts/speed-table.mjs -->";
const END = "<!-- /speed -->";

/** Median (least-most), in the figure's unit. */
function spreadText(spread, unit) {
  if (spread === null) return "";
  const text = (value) => {
    const scaled = unit === "bytes" ? value / 1e9 : value;
    return scaled.toFixed(scaled >= 100 ? 0 : scaled >= 10 ? 1 : 2);
  };
  return `${text(spread.median)} (${text(spread.min)}-${text(spread.max)})`;
}

function percent(part) {
  return part === null || part === undefined ? "" : `${(100 * part).toFixed(0)} %`;
}

/** Lines of Markdown for one result file. */
function speedText({ machine, threads, contended, ceilings, models, date }) {
  const best = (kind) => Math.max(0, ...ceilings.filter((one) => one.kind === kind).map((one) => one.allThreads));
  const giga = (value) => (value / 1e9).toFixed(0);
  const peer = models.find((model) => model.peer !== null)?.peer;
  const lines = [
    `${date.slice(0, 10)}, ${machine.cpu}, ${machine.cores} cores, ${threads} threads${contended ? ", one core taken by another process" : ""}; ` +
      `load ${machine.loadAverage.toFixed(1)} at the start. Ceilings as measured then: ${giga(best("read"))} GB/s read, ` +
      `${giga(best("int8"))} * 10^9 int8 products per second. Medians of ${models[0].works[0].ours?.values.length ?? 0} runs in turns (least-most).` +
      (peer === undefined ? "" : ` Peer: ${[peer.name, peer.version].filter(Boolean).join(", ")}.`),
  ];
  for (const { synthetic, model, works } of models) {
    const name = synthetic === null ? model : `${synthetic.shape} ${synthetic.type}`;
    lines.push("", `| ${name} | moescope | of the ceiling |${peer ? ` ${peer.name} | ratio |` : ""}`);
    lines.push(`| --- | ---: | ---: |${peer ? " ---: | ---: |" : ""}`);
    for (const { figure, unit, ours, peer: theirs, ratio, ceiling } of works) {
      const label = `${figure}, ${unit === "bytes" ? "GB" : unit}`;
      const mine = `| ${label} | ${spreadText(ours, unit)} | ${percent(ceiling?.ours)} |`;
      lines.push(
        peer ? `${mine} ${spreadText(theirs, unit)} | ${ratio === null ? "" : ratio.median.toFixed(2)} |` : mine,
      );
    }
  }
  return lines.join("\n");
}

const file = process.argv[2];
if (file === undefined) {
  console.error("Expected a file of bench/results, got none.");
  process.exit(2);
}
const readme = fs.readFileSync(README, "utf8");
const [begin, end] = [readme.indexOf(BEGIN), readme.indexOf(END)];
if (begin < 0 || end < begin) {
  console.error(`Expected ${BEGIN} and ${END} in ${README}.`);
  process.exit(1);
}
const text = speedText(JSON.parse(fs.readFileSync(file, "utf8")));
fs.writeFileSync(README, `${readme.slice(0, begin + BEGIN.length)}\n${text}\n${readme.slice(end)}`);
