"use strict";
// Data, elements, scales and marks. Text is only ever set as text: nothing of the data is read as HTML.
const data = JSON.parse(document.getElementById("data").textContent);
const trialOf = new Map(data.trials.map(t => [t.id, t]));
const SVG = "http://www.w3.org/2000/svg";

function put(parent, name, attributes, text) {
  const inSvg = name === "svg" || parent.namespaceURI === SVG;
  const node = inSvg ? document.createElementNS(SVG, name) : document.createElement(name);
  for (const [key, value] of Object.entries(attributes || {})) if (value !== null) node.setAttribute(key, value);
  if (text !== undefined) node.textContent = text;
  parent.append(node);
  return node;
}

function short(value) {
  const size = Math.abs(value);
  if (size >= 1e9) return (value / 1e9).toFixed(size >= 1e10 ? 1 : 2) + " G";
  if (size >= 1e6) return (value / 1e6).toFixed(size >= 1e7 ? 1 : 2) + " M";
  if (size >= 1e4) return (value / 1e3).toFixed(1) + " k";
  if (size >= 100 || Number.isInteger(value)) return String(Math.round(value));
  return String(Number(value.toPrecision(3)));
}

function ticks(low, high, count) {
  const raw = (high - low) / count || 1, power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 2.5, 5, 10].map(m => m * power).find(s => s >= raw);
  const found = [];
  for (let value = Math.ceil(low / step) * step; value <= high + step * 1e-9; value += step) found.push(value);
  return found;
}

function span(values) {
  const low = Math.min(...values), high = Math.max(...values);
  const room = (high - low || Math.abs(high) || 1) * 0.07;
  return [low - room, high + room];
}

// One shape a kind, so that nobody has to tell colours apart.
function mark(parent, kind, x, y, size) {
  const r = size || { front: 6, complete: 4.5, zero_shot: 7, full_depth: 6, hand: 6 }[kind] || 4;
  const at = { class: "mark " + kind };
  if (kind === "front" || kind === "complete") return put(parent, "circle", { ...at, cx: x, cy: y, r });
  if (kind === "full_depth") return put(parent, "rect", { ...at, x: x - r, y: y - r, width: 2 * r, height: 2 * r });
  const paths = {
    zero_shot: `M${x},${y - r}L${x + r},${y}L${x},${y + r}L${x - r},${y}Z`,
    hand: `M${x},${y - r}L${x + r},${y + r}L${x - r},${y + r}Z`,
    stopped: `M${x - r},${y - r}L${x + r},${y + r}M${x - r},${y + r}L${x + r},${y - r}`,
    infeasible: `M${x - r},${y - r}L${x + r},${y - r}L${x},${y + r}Z`,
    failed: `M${x},${y - r}L${x},${y + r}M${x - r},${y}L${x + r},${y}`,
    unfinished: `M${x - r},${y}L${x + r},${y}`,
  };
  return put(parent, "path", { ...at, d: paths[kind] });
}

const KINDS = {
  front: "front", complete: "finished, not on the front", zero_shot: "zero-shot base", full_depth: "full depth, LoRA",
  stopped: "stopped at a rung", infeasible: "breaks a limit", failed: "failed", unfinished: "not finished",
};

// Moves with the selection: each part of the page says what it does when a trial is selected.
const followers = [];
let selected = null;
function select(id) {
  selected = id;
  for (const follow of followers) follow(trialOf.get(id));
}

const tip = document.getElementById("tip");
function showTip(text, event) {
  tip.textContent = text;
  tip.hidden = false;
  tip.style.left = Math.min(event.clientX + 14, innerWidth - tip.offsetWidth - 8) + "px";
  tip.style.top = Math.min(event.clientY + 14, innerHeight - tip.offsetHeight - 8) + "px";
}

function marksOf(trial) { return [...trial.picks, ...(trial.collapsed ? ["collapsed"] : [])]; }

// The value of an objective for people; a latency that is predicted or disturbed with its mark and interval.
function shownValue(trial, objective) {
  const value = trial.values[objective.name];
  if (objective.name === "latency_ms" && trial.latency && trial.latency.kind !== "measured") return trial.latency.text;
  return objective.name === "cider" ? value.toFixed(1) : short(value);
}

// Its 95 % interval, or its error where it is predicted; undefined where there is none.
function intervalOf(trial, objective) {
  if (objective.name === "cider") return trial.interval || undefined;
  return objective.name === "latency_ms" && trial.latency ? trial.latency.interval || undefined : undefined;
}

function describe(trial) {
  const values = data.objectives.filter(o => o.name in trial.values)
    .map(o => `${o.title} ${shownValue(trial, o)}`);
  const marks = [KINDS[trial.kind], ...marksOf(trial)].join(", ");
  return `trial ${trial.id}: ${trial.name}; ${values.join(", ")}; ${marks}`;
}

function touchable(node, trial) {
  node.addEventListener("pointermove", event => showTip(describe(trial), event));
  node.addEventListener("pointerleave", () => { tip.hidden = true; });
  node.addEventListener("click", () => select(trial.id));
}

// Redraw when the width changes; `draw(width)` fills an emptied svg.
function responsive(svg, draw) {
  const again = () => { svg.replaceChildren(); draw(Math.max(260, svg.parentNode.clientWidth)); };
  let last = 0;
  new ResizeObserver(() => {
    const width = svg.parentNode.clientWidth;
    if (Math.abs(width - last) > 1) { last = width; again(); }
  }).observe(svg.parentNode);
  return again;
}
