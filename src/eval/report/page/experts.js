// Expert load, and which experts served right and wrong answers.

/** Cells are full at four times the even share. */
report.MOST = 4;

report.showExperts = (data) => {
  if (data.experts === undefined) return;
  const section = document.getElementById("experts");
  section.hidden = false;
  const { loads, contrasts } = data.experts;
  const holder = report.element("div", { className: "maps" });
  const perTask = loads.filter(({ task, group }) => task !== null && group === null);
  const draw = () => {
    const shown = choice.value === "tasks" ? perTask : [loads[Number(choice.value)]];
    holder.replaceChildren(...shown.map((load) => report.loadMap(data.experts, load)));
  };
  const label = ({ task, group }) => (task === null ? "all tasks" : group === null ? task : `${task} · ${group}`);
  const choice = report.select(
    "expert load of",
    [
      ...(perTask.length > 1 ? [["tasks", "tasks side by side"]] : []),
      ...loads.map((load, i) => [String(i), label(load)]),
    ],
    draw,
  );
  section.append(report.element("div", { className: "controls" }, choice), holder);
  const legend = `One row per layer, one cell per expert. No colour: idle; full colour: ${report.MOST} times the even share or more. A beginning that requests share counts once.`;
  section.append(report.element("p", { className: "quiet legend" }, legend));
  draw();
  for (const contrast of contrasts) section.append(report.contrast(data.experts, contrast));
};

report.loadMap = ({ layers, numExperts }, { task, group, counts, tokens }) => {
  const totals = layers.map((_, row) =>
    counts.slice(row * numExperts, (row + 1) * numExperts).reduce((sum, count) => sum + count, 0),
  );
  const utilization = counts.map((count, i) => (count * numExperts) / totals[Math.floor(i / numExperts)]);
  const map = report.heatMap(layers, numExperts, (i) => ({
    colour: `color-mix(in srgb, var(--heat) ${Math.min(100, (100 * utilization[i]) / report.MOST)}%, var(--page))`,
    title: `${counts[i].toLocaleString("en")} assignments, ${utilization[i].toFixed(2)} times the even share`,
  }));
  const name = [task ?? "all tasks", group].filter((part) => part !== null).join(" · ");
  const assignments = totals.reduce((sum, total) => sum + total, 0);
  const size = tokens === null ? [assignments, "assignments"] : [tokens, "tokens"];
  const about = `${name}: ${size[0].toLocaleString("en")} ${size[1]}`;
  return report.element("figure", {}, map, report.element("figcaption", { className: "quiet legend" }, about));
};

/** One row per layer, one cell per expert; `cell` gives the colour and the title of each. */
report.heatMap = (layers, numExperts, cell) => {
  const size = numExperts <= 16 ? "28px" : numExperts <= 32 ? "20px" : "12px";
  const map = report.element("div", {
    className: "heat",
    role: "img",
    "aria-label": `${layers.length} layers by ${numExperts} experts`,
    style: { "grid-template-columns": `auto repeat(${numExperts}, ${size})`, "--cell": size },
  });
  layers.forEach((layer, row) => {
    map.append(report.element("span", {}, `layer ${layer}`));
    for (let expert = 0; expert < numExperts; expert++) {
      const { colour, title, isSure } = cell(row * numExperts + expert);
      const name = `layer ${layer}, expert ${expert}: ${title}`;
      map.append(report.element("i", { title: name, className: isSure ? "sure" : "", style: { background: colour } }));
    }
  });
  return report.element("div", { className: "scroll" }, map);
};

report.contrast = ({ layers, numExperts, falseDiscoveryRate }, { task, scorer, correct, wrong, slots, note }) => {
  const block = report.element("div", {}, report.element("h3", {}, `${task}: experts of right and of wrong answers`));
  if (slots === undefined) {
    block.append(report.element("p", { className: "quiet" }, note));
    return block;
  }
  const largest = Math.max(...slots.map(({ stratified }) => Math.abs(stratified)), 1e-9);
  const isSure = ({ q }) => q <= falseDiscoveryRate;
  const points = (share) => `${share > 0 ? "+" : ""}${(100 * share).toFixed(1)}`;
  const map = report.heatMap(layers, numExperts, (i) => {
    const { stratified, q } = slots[i];
    const strength = (100 * Math.abs(stratified)) / largest;
    const colour = `color-mix(in srgb, var(${stratified > 0 ? "--more" : "--less"}) ${strength}%, var(--page))`;
    return { colour, isSure: isSure(slots[i]), title: `${points(stratified)} points, q ${q.toPrecision(2)}` };
  });
  const sure = slots.filter(isSure).sort((a, b) => Math.abs(b.stratified) - Math.abs(a.stratified));
  const legend = `Blue: chosen more often by tokens of right answers (${correct}), orange: of wrong ones (${wrong}), by ${scorer}, compared within subject and length; strongest ${(100 * largest).toFixed(1)} points. Framed: ${sure.length} of ${slots.length} with a false discovery rate of ${falseDiscoveryRate}. An association, not a cause.`;
  block.append(map, report.element("p", { className: "quiet legend" }, legend));
  const rows = sure.slice(0, 10).map(({ layer, expert, stratified, interval, q }) => ({
    className: "",
    cells: [
      String(layer),
      String(expert),
      points(stratified),
      `${points(interval[0])} to ${points(interval[1])}`,
      q.toPrecision(2),
    ],
  }));
  const columns = ["layer", "expert", "right - wrong, points", "95 % interval", "q"].map((name) => [name, "number"]);
  if (rows.length > 0) block.append(report.element("div", { className: "compact" }, report.table(columns, rows)));
  return block;
};
