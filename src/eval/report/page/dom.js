// Making elements. Text reaches the page as text nodes only: what a model wrote is never read as HTML.
globalThis.report = {};

/** An element with a class, attributes and children (elements or text). */
report.element = (name, options = {}, ...children) => {
  const element = document.createElement(name);
  const { className, on = {}, style = {}, ...attributes } = options;
  if (className) element.className = className;
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  for (const [event, handler] of Object.entries(on)) element.addEventListener(event, handler);
  for (const [property, value] of Object.entries(style)) element.style.setProperty(property, value);
  element.append(...children.filter((child) => child !== undefined && child !== ""));
  return element;
};

/** A select with [value, label] options. */
report.select = (label, options, onChange) => {
  const items = options.map(([value, text]) => report.element("option", { value }, text));
  return report.element("select", { "aria-label": label, on: { change: onChange } }, ...items);
};

/** A table; `columns` are [heading, "number" or ""], rows are {className, cells}. */
report.table = (columns, rows) => {
  const cell = (name, content, kind) => report.element(name, { className: kind }, content);
  const head = columns.map(([text, kind]) => cell("th", text, kind));
  const body = rows.map(({ className, cells }) =>
    report.element("tr", { className }, ...cells.map((content, i) => cell("td", content, columns[i][1]))),
  );
  const table = report.element(
    "table",
    {},
    report.element("thead", {}, report.element("tr", {}, ...head)),
    report.element("tbody", {}, ...body),
  );
  return report.element("div", { className: "scroll" }, table);
};

/** A share as a percentage; "n/a" where there is none. */
report.percent = (share) => (Number.isFinite(Number(share)) ? `${(100 * Number(share)).toFixed(1)} %` : "n/a");

/** The page's data: gzipped JSON in base64. */
report.readData = async () => {
  const bytes = Uint8Array.from(atob(document.getElementById("data").textContent), (char) => char.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).json();
};
