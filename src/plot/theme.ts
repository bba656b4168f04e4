/**
 * One look for every plot. Colours keep their order of lightness for colour-blind readers and on a grey printer; where colour tells
 * kinds apart, a shape or a word does so too.
 */

import type { Config } from "vega-lite";

/** Okabe and Ito's palette for kinds, without its yellow (too light on white): okay with every common colour blindness. */
export const KIND_COLORS: readonly string[] = [
  "#0072B2",
  "#D55E00",
  "#009E73",
  "#CC79A7",
  "#56B4E9",
  "#E69F00",
  "#000000",
];

/** Amounts from little (nearly white) to much (dark): one hue, so that the order also reads on a grey printer. */
export const AMOUNT_RANGE: string[] = ["#f7fbff", "#c6dbef", "#6baed6", "#2171b5", "#08306b"];

/** Below and above a middle: orange and blue, which everyone tells apart. */
export const DEVIATION_RANGE: string[] = ["#a63603", "#fd8d3c", "#fee8d0", "#f7f7f7", "#d4e4f4", "#4292c6", "#08306b"];

/** What could not be measured. */
export const MISSING_COLOR = "#d9d9d9";
export const INK = "#222222";
export const MUTED = "#767676";

const FONT = "DejaVu Sans, Verdana, Helvetica, Arial, sans-serif";

/** The part of a Vega-Lite spec that is the same in every plot. */
export const THEME: Config = {
  background: "#ffffff",
  font: FONT,
  padding: 8,
  view: { stroke: null },
  // A value that is missing gets its own colour; by default its row would vanish.
  mark: { invalid: "show" },
  title: {
    anchor: "start",
    fontSize: 13,
    fontWeight: "bold",
    color: INK,
    subtitleColor: MUTED,
    subtitleFontSize: 11,
    offset: 10,
  },
  axis: {
    labelFontSize: 10,
    titleFontSize: 11,
    titleFontWeight: "normal",
    labelColor: INK,
    titleColor: INK,
    domainColor: MUTED,
    tickColor: MUTED,
    gridColor: "#e6e6e6",
    labelFlush: false,
    labelPadding: 4,
  },
  legend: { labelFontSize: 10, titleFontSize: 11, titleFontWeight: "normal", labelColor: INK, titleColor: INK },
  header: { labelFontSize: 11, titleFontSize: 11, titleFontWeight: "normal", labelColor: INK },
};
