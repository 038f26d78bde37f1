// Everything about one trial: layers kept, scores, latency, captions beside the references.
function showDetail(trial) {
  const box = document.getElementById("detail");
  box.replaceChildren();
  put(box, "h2", {}, `Trial ${trial.id}: ${trial.name}`);
  const state = [KINDS[trial.kind], ...(trial.pareto && trial.kind !== "front" ? ["on the front"] : []), ...marksOf(trial)].join(", ");
  put(box, "p", {}, state + (trial.reason ? `: ${trial.reason}` : "") +
    (trial.state !== "complete" && trial.rung ? ` (after ${Math.round(100 * trial.rung)} % of its training)` : ""));
  if (trial.same.length) {
    put(box, "p", { class: "note" }, "In CIDEr it cannot be told apart from trial" + (trial.same.length > 1 ? "s " : " ") + trial.same.join(", "));
  }
  layers(box, trial);
  put(box, "p", { class: "note" }, trial.tuning);
  const list = put(box, "dl");
  for (const [name, text] of Object.entries(trial.scores)) {
    put(list, "dt", {}, name);
    const between = name === "CIDEr" && trial.interval ? ` (95 %: ${trial.interval.map(v => v.toFixed(1)).join(" to ")})`
      : name === "latency ms" ? latencyNote(trial.latency) : "";
    put(list, "dd", {}, text + between + (name === "CIDEr" && trial.again ? `; expected again ${trial.again}` : ""));
  }
  split(box, trial);
  if (trial.curve.length > 1) {
    put(box, "p", { class: "note" }, "On the way: " + trial.curve.map(([rung, v]) => `${v.toFixed(1)} at ${Math.round(100 * rung)} %`).join(", ") +
      " (greedy before the end).");
  }
  if (trial.beside.length) {
    put(box, "h3", {}, "After the search");
    const lines = put(box, "ul", { class: "refs" });
    for (const line of trial.beside) put(lines, "li", {}, line);
  }
  captions(box, trial);
}

function latencyNote(latency) {
  const words = { measured: "95 %", predicted: "predicted, with its error", disturbed: "disturbed by other work, 95 %" }[latency.kind];
  return latency.interval ? ` (${words}: ${latency.interval.map(v => v.toFixed(1)).join(" to ")})` : latency.kind === "measured" ? "" : ` (${latency.kind})`;
}

function layers(box, trial) {
  put(box, "h3", {}, "Layers kept");
  for (const [part, title] of [["vision", "Vision tower"], ["qformer", "Q-Former"], ["llm", "LLM"]]) {
    const kept = new Set(trial.kept[part]), depth = data.depths[part];
    put(box, "p", { class: "note" }, `${title}: ${kept.size} of ${depth} (${trial.ranges[part]})`);
    const cell = Math.max(7, Math.min(22, 320 / depth));
    const svg = put(box, "svg", { viewBox: `0 0 ${cell * depth + 2} 14`, height: 14, role: "img", class: "layers",
      preserveAspectRatio: "xMinYMid", "aria-label": `${title}: layers ${trial.ranges[part]} of ${depth} kept` });
    for (let i = 0; i < depth; i++) {
      put(svg, "rect", { class: kept.has(i) ? "kept" : "dropped", x: 1 + i * cell, y: 2, width: cell - 2, height: 10, rx: 2 });
    }
  }
}

function split(box, trial) {
  const parts = Object.entries(trial.parts);
  if (!parts.length) return;
  put(box, "h3", {}, "Where the latency goes");
  const whole = parts.reduce((sum, [, v]) => sum + v, 0), classes = ["bar", "bar2", "bar3", "bar4"];
  const svg = put(box, "svg", { viewBox: "0 0 320 16", height: 16, role: "img", preserveAspectRatio: "none",
    "aria-label": parts.map(([n, v]) => `${n} ${v.toFixed(1)} ms`).join(", ") });
  let at = 0;
  parts.forEach(([name, v], n) => { put(svg, "rect", { class: classes[n], x: at, y: 0, width: 320 * v / whole, height: 16 }); at += 320 * v / whole; });
  const text = put(box, "p", { class: "note" });
  parts.forEach(([name, v], n) => {
    const key = put(text, "svg", { viewBox: "0 0 10 10", width: 10, height: 10, style: null });
    key.setAttribute("class", "key");
    put(key, "rect", { class: classes[n], width: 10, height: 10 });
    put(text, "span", {}, ` ${name} ${v.toFixed(1)} ms  `);
  });
}

function captions(box, trial) {
  const said = data.images.map((image, n) => [image, trial.captions[n], trial.cider[n]]).filter(([, caption]) => caption !== null);
  if (!said.length) return;
  put(box, "h3", {}, "What it says");
  if (said.length < data.images.length) put(box, "p", { class: "note" }, "A rung is judged on a part of the images.");
  const list = put(box, "div", { class: "images" });
  for (const [image, caption, score] of said) {
    const row = put(list, "div", { class: "image" });
    if (image.src) put(row, "img", { src: image.src, alt: image.id, width: 84 });
    else put(row, "span", { class: "note" }, image.id);
    const text = put(row, "div");
    put(text, "p", { class: "said" }, caption || "(nothing)");
    put(text, "p", { class: "note" }, `${image.id}, CIDEr ${score}`);
    const references = put(text, "ul", { class: "refs" });
    for (const reference of image.references) put(references, "li", {}, reference);
  }
}
