// The page is put together once; after that only the selection moves.
document.getElementById("title").textContent = `Front of ${data.study}`;
document.getElementById("verdict").textContent = data.verdict || "Which layers and adapters give the best captions at the least cost?";
if (data.trials.some(t => t.collapsed)) data.warnings.push(data.collapsed_note);
for (const line of data.warnings) put(document.getElementById("warnings"), "p", {}, line);
const factList = document.getElementById("facts");
for (const [name, text] of data.facts) { put(factList, "dt", {}, name); put(factList, "dd", {}, text); }

const legend = document.getElementById("legend"), pairs = document.getElementById("pairs");
const present = new Set(data.trials.map(t => t.kind));
for (const [kind, text] of [...Object.entries(KINDS), ["hand", "hand-made study"]]) {
  if (!present.has(kind) && !(kind === "hand" && data.hand_made)) continue;
  const item = put(legend, "span");
  mark(put(item, "svg", { viewBox: "0 0 16 16", "aria-hidden": "true" }), kind, 8, 8, 5);
  item.append(text);
}
const zoom = put(legend, "button", { type: "button", id: "zoom", "aria-pressed": "false" }, "zoom to the trained");
zoom.addEventListener("click", () => {
  zoomed = !zoomed;
  zoom.setAttribute("aria-pressed", String(zoomed));
  for (const draw of zoomers) draw();
});
const [first, ...others] = data.objectives;
for (const other of others) pairChart(pairs, other, first);
if (others.length > 1) { pairChart(pairs, others[0], others[1]); spaceChart(pairs); }
followers.push(showDetail);
evidence();
table();
const start = data.trials.find(t => t.picks.includes("knee")) || data.trials[0];
if (start) select(start.id);
