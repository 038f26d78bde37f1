// How the search went: volume over compute, importance, pausing, rungs. And the table, through which every trial is reached.
const percent = share => Math.round(100 * share) + " %";

function evidence() {
  const box = document.getElementById("evidence");
  if (data.volume.length) {
    const figure = put(box, "figure");
    put(figure, "figcaption", {}, "Hypervolume over compute");
    const most = data.volume[data.volume.length - 1].seconds, [unit, by] = most > 7200 ? ["hours", 3600] : ["minutes", 60];
    const svg = put(figure, "svg", { role: "img", "aria-label": `Hypervolume rose to ${data.share.toFixed(3)} over ${(most / by).toFixed(1)} worker ${unit}` });
    put(figure, "p", {}, "1 would be full depth's CIDEr at no cost. A trial's legs count when it ends.");
    responsive(svg, width => {
      const scale = axes(svg, width, 230, [0, most / by * 1.03], [0, data.share * 1.1 || 1], `worker ${unit}`, "hypervolume");
      let path = "";
      data.volume.forEach((p, n) => { path += n ? `H${scale.x(p.seconds / by)}V${scale.y(p.share)}` : `M${scale.x(p.seconds / by)},${scale.y(p.share)}`; });
      put(svg, "path", { class: "curve", d: path });
      for (const p of data.volume) touchable(put(svg, "circle", { class: "mark front", cx: scale.x(p.seconds / by), cy: scale.y(p.share), r: 3.5 }), trialOf.get(p.trial));
    });
  }
  for (const { rung, kendall_tau: tau, points } of data.rungs) {
    const figure = put(box, "figure");
    put(figure, "figcaption", {}, `CIDEr at ${Math.round(100 * rung)} % of the training, and at its end`);
    const svg = put(figure, "svg", { role: "img", "aria-label": `${points.length} trials` });
    put(figure, "p", {}, (tau === null ? "Too few trials for a rank correlation" : `Kendall's tau ${tau.toFixed(2)}`) +
      ` over ${points.length} finished trials: 1 means that the rung already knew the order, 0 that it knew nothing. Trials stopped there are not in it.`);
    responsive(svg, width => {
      const scale = axes(svg, width, 230, span(points.map(p => p[0])), span(points.map(p => p[1])), `CIDEr at ${Math.round(100 * rung)} %, greedy`, "final CIDEr");
      for (const [early, late, id] of points) touchable(mark(svg, trialOf.get(id).kind, scale.x(early), scale.y(late), 4), trialOf.get(id));
    });
  }
  const figure = put(box, "figure");
  put(figure, "figcaption", {}, "Which parameters matter");
  if (data.importance.why) put(figure, "p", {}, "Not shown: " + data.importance.why);
  for (const objective of data.objectives.filter(o => o.name in data.importance.of)) {
    put(figure, "p", {}, objective.title);
    const rows = Object.entries(data.importance.of[objective.name]);
    const svg = put(figure, "svg", { role: "img", "aria-label": rows.map(([n, [v, low, high]]) => `${n} ${percent(v)} (${percent(low)} to ${percent(high)})`).join(", ") });
    responsive(svg, width => {
      svg.setAttribute("viewBox", `0 0 ${width} ${rows.length * 18 + 4}`);
      svg.setAttribute("height", rows.length * 18 + 4);
      rows.forEach(([name, [value, low, high]], n) => {
        const x = share => 130 + (width - 250) * share, middle = 10 + n * 18;
        put(svg, "text", { x: 6, y: 15 + n * 18 }, name);
        put(svg, "rect", { class: "bar", x: x(0), y: 4 + n * 18, width: Math.max(1, x(value) - x(0)), height: 12 });
        put(svg, "line", { class: "range", x1: x(low), x2: x(high), y1: middle, y2: middle });
        put(svg, "text", { class: "soft", x: x(high) + 6, y: 15 + n * 18 }, `${percent(value)} (${percent(low)} to ${percent(high)})`);
      });
    });
  }
  if (!data.importance.why) put(figure, "p", {}, data.importance.method + "." + (data.importance.left_out.length ? ` Left out, since they exist only under a condition: ${data.importance.left_out.join(", ")}.` : ""));
  const saved = put(box, "figure");
  put(saved, "figcaption", {}, "What pausing saved");
  const p = data.saved;
  put(saved, "p", {}, p === null ? "No trial was stopped at a rung: every one was trained to the end." :
    `${p.stopped} trials were stopped at a rung, which saved ${p.trainings.toFixed(1)} whole trainings: about ` +
    `${(p.seconds / 60).toFixed(1)} worker minutes at their own pace, ${Math.round(100 * p.share)} % of what all would have taken.`);
}

function table() {
  for (const note of data.table_notes) put(document.getElementById("table"), "p", { class: "note" }, note);
  const node = document.querySelector("#table table"), head = put(put(node, "thead"), "tr"), body = put(node, "tbody");
  const columns = [["trial", t => t.id, true], ["variant", t => t.name], ["state", t => KINDS[t.kind]],
    ...data.objectives.map(o => [o.title, t => t.values[o.name], true, t => o.name in t.values ? shownValue(t, o) : ""]),
    ...(data.trials.some(t => t.again) ? [["expected again", t => t.again ? parseFloat(t.again) : undefined, true, t => t.again]] : []),
    ["picks", t => marksOf(t).join(", ")], ["CIDEr group", t => t.groups], ["why", t => t.reason]];
  let by = columns.findIndex(c => c[0] === data.objectives[0].title), down = data.objectives[0].direction === "max";
  const rows = new Map();
  for (const t of data.trials) {
    const row = put(body, "tr", { class: ["front", "complete", "zero_shot", "full_depth"].includes(t.kind) ? null : "dim" });
    for (const [name, value, number, text] of columns) {
      const cell = put(row, "td", { class: number ? "number" : null });
      const shown = value(t);
      if (name === "trial") put(cell, "button", { type: "button", "aria-label": describe(t) }, String(t.id)).addEventListener("click", () => select(t.id));
      else cell.textContent = text ? text(t) : shown;
    }
    rows.set(t.id, row);
  }
  const heads = columns.map(([name, , number], n) => {
    const cell = put(head, "th", { class: number ? "number" : null, scope: "col" });
    put(cell, "button", { type: "button" }, name).addEventListener("click", () => { down = n === by ? !down : Boolean(number); by = n; sort(); });
    return cell;
  });
  function sort() {
    const value = columns[by][1], sign = down ? -1 : 1;
    const sorted = [...data.trials].sort((p, q) => {
      const [a, b] = [value(p), value(q)];
      if (a === undefined || b === undefined) return (a === undefined) - (b === undefined) || p.id - q.id;
      return sign * (a < b ? -1 : a > b ? 1 : 0) || p.id - q.id;
    });
    body.append(...sorted.map(t => rows.get(t.id)));
    heads.forEach((cell, n) => cell.setAttribute("aria-sort", n !== by ? "none" : down ? "descending" : "ascending"));
  }
  sort();
  followers.push(trial => rows.forEach((row, id) => row.classList.toggle("chosen", id === trial.id)));
  body.addEventListener("keydown", event => { // a column of buttons is walked by arrows too
    const row = event.target.closest("tr"), next = { ArrowDown: "nextElementSibling", ArrowUp: "previousElementSibling" }[event.key];
    if (!next || !row || !row[next]) return;
    event.preventDefault();
    const button = row[next].querySelector("button");
    button.focus();
    button.click();
  });
}
