// All samples in a list that draws only the rows in view, with filters, a search, and one sample in full.

report.ROW_HEIGHT = 48;

report.showSamples = (data) => {
  const { samples, tasks } = data;
  const state = { shown: samples.map((_, i) => i), selected: -1 };
  const count = report.element("div", { className: "quiet", role: "status" });
  const spacer = report.element("div");
  const list = report.element(
    "div",
    { className: "list", role: "listbox", tabindex: "0", "aria-label": "samples" },
    spacer,
  );
  const detail = report.element("div", { className: "detail" });
  const drawRows = () => {
    const first = Math.max(0, Math.floor(list.scrollTop / report.ROW_HEIGHT) - 4);
    const last = Math.min(state.shown.length, first + Math.ceil(list.clientHeight / report.ROW_HEIGHT) + 8);
    spacer.style.height = `${state.shown.length * report.ROW_HEIGHT}px`;
    const rows = [];
    for (let at = first; at < last; at++) rows.push(report.sampleRow(data, state, at, () => select(at)));
    spacer.replaceChildren(...rows);
  };
  const select = (at) => {
    state.selected = at;
    const top = at * report.ROW_HEIGHT;
    if (top < list.scrollTop) list.scrollTop = top;
    const bottom = top + report.ROW_HEIGHT - list.clientHeight;
    if (bottom > list.scrollTop) list.scrollTop = bottom;
    const sample = samples[state.shown[at]];
    const nothing = report.element("p", { className: "quiet" }, "No sample matches these filters.");
    detail.replaceChildren(...(sample === undefined ? [nothing] : report.sampleDetail(data, sample)));
    drawRows();
  };
  const apply = (keep) => {
    state.shown = samples.flatMap((sample, i) => (keep(sample, i) ? [i] : []));
    const cut = data.samplesInRun > samples.length ? ` (the first of ${data.samplesInRun} in the run)` : "";
    count.textContent = `${state.shown.length.toLocaleString("en")} of ${samples.length.toLocaleString("en")} samples${cut}`;
    list.scrollTop = 0;
    select(state.shown.length > 0 ? 0 : -1);
  };
  list.addEventListener("scroll", drawRows);
  window.addEventListener("resize", drawRows);
  list.addEventListener("keydown", (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1, PageDown: 10, PageUp: -10 }[event.key];
    if (step === undefined || state.shown.length === 0) return;
    event.preventDefault();
    select(Math.min(state.shown.length - 1, Math.max(0, state.selected + step)));
  });
  const section = document.getElementById("samples");
  section.append(report.filters(data, tasks, apply), count);
  section.append(report.element("div", { className: "list-and-detail" }, list, detail));
  apply(() => true);
};

/** The controls over the list; `apply` takes a test of a sample. */
report.filters = (data, tasks, apply) => {
  const groups = tasks.flatMap((task, i) => {
    const subjects = task.groups.map((name, g) => [`${i}/${g}`, `\u2003${task.name} · ${name}`]);
    return [[`${i}`, task.name], ...(task.groups.length > 1 ? subjects : [])];
  });
  const verdicts = ["right", "wrong", "no answer", "not scored"].map((name) => [name, name]);
  let haystack;
  let timer;
  const search = report.element("input", {
    type: "search",
    placeholder: "Search question, answer, output",
    "aria-label": "search",
    on: {
      input: () => {
        clearTimeout(timer);
        timer = setTimeout(filter, 120);
      },
    },
  });
  const filter = () => {
    const [task, group] = place.value.split("/");
    const needle = search.value.toLowerCase();
    if (needle !== "") haystack ??= data.samples.map(report.searchText);
    apply((sample, i) => {
      if (task !== "" && sample.task !== Number(task)) return false;
      if (group !== undefined && sample.group !== Number(group)) return false;
      if (verdict.value !== "" && !report.verdictsOf(data, sample).includes(verdict.value)) return false;
      return needle === "" || haystack[i].includes(needle);
    });
  };
  const place = report.select("task and subject", [["", "all tasks and subjects"], ...groups], filter);
  const verdict = report.select("verdict", [["", "right and wrong"], ...verdicts], filter);
  return report.element("div", { className: "controls" }, place, verdict, search);
};

report.searchText = ({ id, input, target, responses }) => {
  const outputs = responses.map(({ text, continuation }) => text ?? continuation);
  return [id, input, target, ...outputs].join("\n").toLowerCase();
};

/** By the task's first scorer: "right" or "wrong" and "no answer"; or "not scored". */
report.verdictsOf = (data, sample) => {
  const { value, answer } = sample.scores[data.tasks[sample.task].scorer] ?? { value: null };
  if (value === null) return ["not scored"];
  return [value === 1 ? "right" : "wrong", ...(answer === null ? ["no answer"] : [])];
};

report.MARKS = { right: "✓", wrong: "✗", "not scored": "–" };

report.mark = (data, sample) => {
  const [verdict] = report.verdictsOf(data, sample);
  return report.element("span", { className: `verdict ${verdict}`, title: verdict }, `${report.MARKS[verdict]} `);
};

report.sampleRow = (data, state, at, onClick) => {
  const sample = data.samples[state.shown[at]];
  const task = data.tasks[sample.task];
  const answer = sample.scores[task.scorer]?.answer;
  const given = answer === undefined || answer === null ? "no answer" : `answers ${answer.slice(0, 60)}`;
  const group = task.groups[sample.group] ?? "";
  const about = [task.name, group, sample.id].filter((text) => text !== "").join(" · ");
  return report.element(
    "div",
    {
      className: "row",
      role: "option",
      "aria-selected": String(at === state.selected),
      style: { top: `${at * report.ROW_HEIGHT}px` },
      on: { click: onClick },
    },
    report.element("div", {}, report.mark(data, sample), sample.input.slice(0, 200)),
    report.element("div", {}, `${given}, right is ${sample.target || "not known"} · ${about}`),
  );
};

report.sampleDetail = (data, sample) => {
  const task = data.tasks[sample.task];
  const block = (title, content) => [report.element("h3", {}, title), content];
  const scores = Object.entries(sample.scores).map(([scorer, { value, answer, note }]) => ({
    className: "",
    cells: [scorer, value === null ? "not scored" : String(value), answer ?? "none found", sample.target, note ?? ""],
  }));
  const columns = ["scorer", "score", "extracted", "right answer", "note"].map((name) => [name, ""]);
  const seconds = `${sample.seconds.toFixed(3)} s of its batch`;
  return [
    report.element("div", {}, report.mark(data, sample), report.element("span", { className: "mono" }, sample.id)),
    ...report.promptBlocks(task, sample),
    ...report.responseBlocks(sample.responses).flatMap(([title, content]) => block(title, content)),
    ...block("score", report.table(columns, scores)),
    ...(sample.experts === undefined
      ? []
      : block("most chosen experts, over its own tokens", report.routes(data, sample))),
    report.element(
      "p",
      { className: "quiet" },
      `${task.name}, track ${task.track} · ${seconds} · prompt sha256 `,
      report.element("span", { className: "mono" }, sample.promptSha256.slice(0, 16)),
    ),
  ];
};

/** The question; and the whole prompt behind it, where it is more and the run has it. */
report.promptBlocks = (task, { input, promptEnd, group }) => {
  const question = [report.element("h3", {}, "question"), report.element("pre", {}, input)];
  if (promptEnd === undefined) return question;
  const whole = report.element("pre", {}, task.promptBeginnings[group] + promptEnd);
  return [...question, report.element("details", {}, report.element("summary", {}, "prompt, in full"), whole)];
};

report.responseBlocks = (responses) => {
  const choices = responses.filter(({ kind }) => kind === "loglikelihood");
  const rows = choices.map(({ continuation, logprob, is_greedy, tokens }) => ({
    className: "",
    cells: [JSON.stringify(continuation), Number(logprob).toFixed(4), String(tokens), is_greedy ? "yes" : "no"],
  }));
  const columns = [
    ["choice", ""],
    ["log-likelihood", "number"],
    ["tokens", "number"],
    ["what greedy gives", ""],
  ];
  const texts = responses.filter(({ kind }) => kind !== "loglikelihood");
  return [
    ...(rows.length > 0 ? [["log-likelihoods", report.table(columns, rows)]] : []),
    ...texts.map(({ text, cut, tokens, finish_reason }) => {
      const rest = cut > 0 ? `\n… ${cut} more characters in samples.jsonl` : "";
      return [
        `output (${tokens} tokens, ended by ${finish_reason})`,
        report.element("pre", {}, `${text}${rest}` || "(nothing)"),
      ];
    }),
  ];
};

/** Per layer, the experts that its tokens chose most: [expert, percent of tokens] pairs. */
report.routes = (data, { experts }) => {
  const { layers } = data.experts;
  const each = experts.length / layers.length;
  const rows = layers.map((layer, row) => {
    const pairs = [];
    for (let i = row * each; i < (row + 1) * each; i += 2) {
      if (experts[i + 1] > 0) pairs.push(`${experts[i]} (${experts[i + 1]} %)`);
    }
    return { className: "", cells: [String(layer), pairs.join(", ")] };
  });
  return report.table(
    [
      ["layer", "number"],
      ["expert (share of tokens)", ""],
    ],
    rows,
  );
};
