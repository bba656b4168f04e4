/**
 * What a plot shows, without what a minor version of Vega may change: each mark with its kind, colours and place in whole pixels, each
 * text as it reads. Ids, classes, fonts, aria labels and digits behind the point are left out.
 */

const KEPT = ["d", "x", "y", "width", "height", "x2", "y2", "fill", "stroke", "opacity"];

export function svgOutline(svg: string): string {
  const lines: string[] = [];
  for (const [, tag, attributes, content] of svg.matchAll(/<(path|text|line|rect|stop)\b([^>]*?)\/?>([^<]*)/g)) {
    const kept = KEPT.flatMap((name) => {
      const value = new RegExp(` ${name}="([^"]*)"`).exec(attributes!)?.[1];
      return value === undefined || value === "none" || value === "transparent" ? [] : [`${name}=${rounded(value)}`];
    });
    const at = /transform="translate\(([^)]*)\)/.exec(attributes!)?.[1];
    // Invisible backgrounds of groups come and go.
    if (tag === "path" && !kept.some((part) => /^(fill|stroke)=/.test(part))) continue;
    const place = at === undefined ? [] : [`at ${rounded(at)}`];
    lines.push([tag === "text" ? JSON.stringify(content) : tag, ...place, ...kept].join(" "));
  }
  return `${lines.join("\n")}\n`;
}

function rounded(value: string): string {
  // A colour has no digits behind a point; "-0" is 0.
  return value
    .replace(/url\(.*\)/, "gradient")
    .replace(/-?\d+\.\d+(e-?\d+)?/g, (number) => String(Math.round(Number(number)) || 0));
}
