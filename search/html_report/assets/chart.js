// Two objectives against each other, with all that is known about where the points stand.
function axes(svg, width, height, xs, ys, xTitle, yTitle) {
  const left = 66, right = 12, top = 12, bottom = 38;
  const x = v => left + (v - xs[0]) / (xs[1] - xs[0]) * (width - left - right);
  const y = v => height - bottom - (v - ys[0]) / (ys[1] - ys[0]) * (height - top - bottom);
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  svg.setAttribute("height", height);
  for (const v of ticks(...xs, width / 90)) {
    put(svg, "line", { class: "tick", x1: x(v), x2: x(v), y1: top, y2: height - bottom });
    put(svg, "text", { class: "soft", x: x(v), y: height - bottom + 14, "text-anchor": "middle" }, short(v));
  }
  for (const v of ticks(...ys, 5)) {
    put(svg, "line", { class: "tick", x1: left, x2: width - right, y1: y(v), y2: y(v) });
    put(svg, "text", { class: "soft", x: left - 5, y: y(v) + 4, "text-anchor": "end" }, short(v));
  }
  put(svg, "text", { x: (left + width) / 2, y: height - 6, "text-anchor": "middle" }, xTitle);
  put(svg, "text", { x: 12, y: height / 2, "text-anchor": "middle", transform: `rotate(-90 12 ${height / 2})` }, yTitle);
  return { x, y, edge: height - bottom, left, right: width - right };
}

// Zoomed, the charts show what was trained to the end, without the marks far below it.
let zoomed = false;
const zoomers = [];

function named(objective) {
  const better = objective.direction === "max" ? "more is better" : "less is better";
  return `${objective.title} (${better})`;
}

function pairChart(parent, a, b) {
  const figure = put(parent, "figure");
  put(figure, "figcaption", {}, `${b.title} against ${a.title}`);
  const svg = put(figure, "svg", { tabindex: 0, role: "application", class: "pair",
    "aria-label": `${b.title} against ${a.title}. Arrow keys move from trial to trial.` });
  const shown = data.trials.filter(t => a.name in t.values);
  const hand = data.hand_made ? data.hand_made.points.filter(p => a.name in p && b.name in p) : [];
  let place = null;

  const draw = responsive(svg, width => {
    const height = Math.min(360, Math.max(250, width * 0.72));
    const near = zoomed ? shown.filter(t => ["front", "complete", "full_depth"].includes(t.kind)) : shown;
    const heights = near.filter(t => b.name in t.values).map(t => t.values[b.name]);
    const beside = zoomed ? [] : hand;
    let lines = b.name === "cider" ? data.lines : [];
    const xs = span([...near.map(t => t.values[a.name]), ...beside.map(p => p[a.name])]);
    const ys = span([...heights, ...beside.map(p => p[b.name]), ...(zoomed ? [] : lines.filter(l => l.in_scale).map(l => l.value))]);
    lines = lines.filter(l => l.value >= ys[0] && l.value <= ys[1]);
    const scale = axes(svg, width, height, xs, ys, named(a), named(b));
    place = t => [scale.x(t.values[a.name]), b.name in t.values ? scale.y(t.values[b.name]) : scale.edge - 5];
    lines.forEach((line, n) => {
      const y = scale.y(line.value);
      put(svg, "line", { class: line.kind, x1: scale.left, x2: scale.right, y1: y, y2: y });
      put(svg, "text", { class: line.kind, x: scale.right - 4, y: y - 4, "text-anchor": "end" },
        `${line.name} ${line.value.toFixed(1)}`);
    });
    for (const p of beside) {
      const node = mark(svg, "hand", scale.x(p[a.name]), scale.y(p[b.name]));
      node.addEventListener("pointermove", event => showTip(`${p.name}: CIDEr ${p.cider}. ${data.hand_made.note}`, event));
      node.addEventListener("pointerleave", () => { tip.hidden = true; });
    }
    const within = (low, high) => v => Math.min(high, Math.max(low, v));
    for (const t of near.filter(t => t.pareto)) {
      const [x, y] = place(t), kind = objective => objective.name === "latency_ms" ? t.latency.kind : "measured";
      if (intervalOf(t, a)) {
        const [low, high] = intervalOf(t, a).map(scale.x).map(within(scale.left, scale.right));
        put(svg, "line", { class: "whisker " + kind(a), x1: low, x2: high, y1: y, y2: y });
      }
      if (intervalOf(t, b)) {
        const [low, high] = intervalOf(t, b).map(scale.y).map(within(6, scale.edge));
        put(svg, "line", { class: "whisker " + kind(b), x1: x, x2: x, y1: low, y2: high });
      }
    }
    const order = ["infeasible", "failed", "unfinished", "stopped", "complete", "zero_shot", "full_depth", "front"];
    const fits = t => !zoomed || near.includes(t);
    for (const t of [...shown].filter(fits).sort((p, q) => order.indexOf(p.kind) - order.indexOf(q.kind))) {
      const node = mark(svg, t.kind, ...place(t));
      node.dataset.trial = t.id;
      touchable(node, t);
    }
    labels(svg, shown.filter(t => t.picks.length && fits(t)), place, scale);
    rings();
  });

  function rings() {
    svg.querySelectorAll(".ring, .same").forEach(node => node.remove());
    const trial = trialOf.get(selected);
    if (!trial || !place || !(a.name in trial.values)) return;
    const [x, y] = place(trial);
    if (zoomed && (y > svg.clientHeight || x < 0)) return; // it lies outside
    put(svg, "circle", { class: "ring", cx: x, cy: y, r: 10 });
    for (const id of trial.same) {
      const [u, v] = place(trialOf.get(id));
      put(svg, "circle", { class: "same", cx: u, cy: v, r: 10 });
    }
  }
  followers.push(rings);
  svg.addEventListener("keydown", event => step(event, shown, a.name, b.name));
  zoomers.push(draw);
}

// Picks' names beside their points, moved apart where they would lie on each other.
function labels(svg, trials, place, scale) {
  const taken = [];
  for (const t of trials) {
    const [x, y] = place(t);
    const end = x > (scale.left + scale.right) / 2;
    let at = y - 9;
    while (taken.some(other => Math.abs(other - at) < 13)) at -= 13;
    if (at < 14) { at = y + 18; while (taken.some(other => Math.abs(other - at) < 13)) at += 13; }
    taken.push(at);
    put(svg, "text", { class: "pick", x: x + (end ? -4 : 4), y: at, "text-anchor": end ? "end" : "start" }, t.picks.join(", "));
  }
}

// Arrow keys: along x with left and right, along y with up and down. Trials without a y come first.
function step(event, shown, xName, yName) {
  const keys = { ArrowRight: [xName, 1], ArrowLeft: [xName, -1], ArrowUp: [yName, 1], ArrowDown: [yName, -1], Home: [xName, 0], End: [xName, 0] };
  if (!(event.key in keys) || event.shiftKey || !shown.length) return;
  event.preventDefault();
  const [name, by] = keys[event.key];
  const value = t => name in t.values ? t.values[name] : -Infinity;
  const sorted = [...shown].sort((p, q) => (value(p) < value(q) ? -1 : value(p) > value(q) ? 1 : 0) || p.id - q.id);
  const now = sorted.findIndex(t => t.id === selected);
  const next = event.key === "Home" ? 0 : event.key === "End" ? sorted.length - 1
    : Math.min(sorted.length - 1, Math.max(0, now + by));
  select(sorted[next].id);
}
