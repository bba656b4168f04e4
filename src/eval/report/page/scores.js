// Numbers with their error bars, and the settings that they rest on.

report.showHeader = (data) => {
  const { model, tasks } = data;
  const done = tasks.reduce((sum, task) => sum + task.done, 0);
  const weights = [model.weightType, model.precision, model.device].filter(Boolean).join(", ");
  const interventions = model.interventions?.length ? ` · with ${model.interventions.length} interventions` : "";
  document
    .getElementById("summary")
    .append(
      `${done.toLocaleString("en")} samples · ${weights === "" ? model.kind : weights}${interventions} · ${data.finishedAt ?? data.createdAt}`,
    );
};

report.showScores = (data) => {
  const section = document.getElementById("scores");
  for (const task of data.tasks) {
    const rows = task.metrics.map((row) => report.scoreRow(task, row));
    const hasGroups = rows.some(({ className }) => className !== "");
    const holder = report.element("div");
    const draw = (all) => {
      const shown = rows.filter(({ className }) => all || className === "");
      const columns = [
        ["", ""],
        ["metric", ""],
        ["value", "number"],
        ["", ""],
        ["95 % interval", "number"],
      ];
      holder.replaceChildren(
        report.table([...columns, ["SE", "number"], ["n", "number"], ["no answer", "number"]], shown),
      );
    };
    draw(rows.length <= 40);
    const box = report.element("input", { type: "checkbox", on: { change: () => draw(box.checked) } });
    box.checked = rows.length <= 40;
    const toggle = hasGroups ? report.element("label", { className: "quiet" }, box, " by subject") : "";
    section.append(report.element("h3", {}, `${task.name} · track ${task.track}`), toggle, holder, report.notes(task));
  }
};

report.scoreRow = (task, { metric, path, isLeaf, estimate }) => {
  const [low, high] = estimate.interval;
  const name = path.length === 0 ? task.name : path[path.length - 1];
  const className = path.length === 0 ? "" : isLeaf && path.length > 1 ? "leaf" : "group";
  const cells = [
    name,
    metric,
    report.percent(estimate.value),
    report.bar(estimate),
    `${report.percent(low)} to ${report.percent(high)}`,
    report.percent(estimate.stderr),
    String(estimate.n),
    String(estimate.noAnswer),
  ];
  return { className, cells };
};

/** A value and its interval on an axis from 0 to 1. */
report.bar = ({ value, interval }) => {
  const share = (x) => `${100 * Math.min(1, Math.max(0, Number(x) || 0))}%`;
  const width = `${100 * Math.max(0, Math.min(1, interval[1]) - Math.max(0, interval[0])) || 0}%`;
  return report.element(
    "div",
    { className: "bar", role: "img", "aria-label": report.percent(value) },
    report.element("div", { className: "value", style: { width: share(value) } }),
    report.element("div", { className: "interval", style: { left: share(interval[0]), width } }),
  );
};

/** What a reader must know before quoting a number. */
report.notes = ({ samples, done, dataset, metrics }) => {
  const notes = [];
  const unscored = metrics[0]?.estimate.unscored ?? 0;
  if (done < samples) notes.push(`${done} of ${samples} samples are done.`);
  if (samples < dataset.rows) notes.push(`${samples} of the ${dataset.rows} samples were selected.`);
  if (dataset.officialRows !== undefined && dataset.rows !== dataset.officialRows) {
    notes.push(`The data has ${dataset.rows} rows, the official benchmark ${dataset.officialRows}.`);
  }
  if (unscored > 0) notes.push(`${unscored} samples could not be scored and count nowhere.`);
  return report.element("div", { className: "quiet" }, notes.join(" "));
};

report.showProvenance = (data) => {
  const section = document.getElementById("provenance");
  const add = (title, ...content) => {
    section.append(report.element("details", {}, report.element("summary", {}, title), ...content));
  };
  const json = (value) => report.element("pre", {}, JSON.stringify(value, null, 2));
  for (const { name, track, version, settings, dataset, environment } of data.tasks) {
    add(`${name} · track ${track}: settings`, json({ version, ...settings, ...environment }));
    const { files, ...rest } = dataset;
    const shown = { ...rest, files: files.length > 4 ? [...files.slice(0, 4), `and ${files.length - 4} more`] : files };
    add(`${name}: data`, json(shown));
  }
  add("model", json(data.model));
  const { digest, versions, createdAt, finishedAt, trace } = data;
  add("run", json({ digest, createdAt, finishedAt, trace, versions }));
};
