// The three objectives at once: points in a turning box, nearer ones larger. Drag, or Shift with arrow keys, turns it.
function spaceChart(parent) {
  const [o1, o2, o3] = data.objectives, names = [o1, o2, o3].map(o => o.name);
  const shown = data.trials.filter(t => names.every(n => n in t.values));
  if (!shown.length) return;
  const figure = put(parent, "figure");
  put(figure, "figcaption", {}, `${o1.title}, ${o2.title} and ${o3.title}`);
  const svg = put(figure, "svg", { tabindex: 0, role: "application", id: "space",
    "aria-label": "The front in three dimensions. Arrow keys move from trial to trial, with Shift they turn the picture." });
  const note = put(figure, "p", {}, "Drag to turn, or Shift and arrow keys. ");
  const ranges = names.map(n => span(shown.map(t => t.values[n])));
  let turn = -0.7, tilt = 0.42, wide = 300;
  for (const [text, by] of [["turn left", -0.3], ["turn right", 0.3]]) {
    put(note, "button", { type: "button" }, text).addEventListener("click", () => { turn += by; draw(); });
  }

  function project(point) { // -1..1 in each direction; CIDEr is up
    const [up, across, deep] = point;
    const x = across * Math.cos(turn) - deep * Math.sin(turn), z = across * Math.sin(turn) + deep * Math.cos(turn);
    const y = up * Math.cos(tilt) - z * Math.sin(tilt), near = up * Math.sin(tilt) + z * Math.cos(tilt);
    const size = wide * 0.26;
    return [wide / 2 + x * size, wide * 0.42 - y * size, near];
  }
  const unit = t => names.map((n, i) => 2 * (t.values[n] - ranges[i][0]) / (ranges[i][1] - ranges[i][0]) - 1);

  const draw = responsive(svg, width => {
    wide = Math.min(width, 460);
    svg.setAttribute("viewBox", `${(wide - width) / 2} 0 ${width} ${wide * 0.84}`);
    svg.setAttribute("height", wide * 0.84);
    const edge = (from, to) => {
      const [a, b] = [project(from), project(to)];
      put(svg, "line", { class: "axis", x1: a[0], y1: a[1], x2: b[0], y2: b[1] });
    };
    for (const i of [-1, 1]) for (const j of [-1, 1]) { edge([-1, i, j], [1, i, j]); edge([i, -1, j], [i, 1, j]); edge([i, j, -1], [i, j, 1]); }
    const label = (at, text) => { const [x, y] = project(at); put(svg, "text", { class: "soft", x, y, "text-anchor": "middle" }, text); };
    const lower = (a, b) => project(a)[1] > project(b)[1] ? a : b; // the edge in front, where nothing lies behind the word
    label([1.15, -1, -1], o1.title);
    label(lower([-1.15, 0, -1.15], [-1.15, 0, 1.15]), o2.title);
    label(lower([-1.15, -1.15, 0], [-1.15, 1.15, 0]), o3.title);
    const points = shown.map(t => [t, ...project(unit(t))]).sort((p, q) => q[3] - p[3]);
    for (const [t, x, y, near] of points) {
      const r = (t.kind === "front" ? 6 : 4.5) * (1 - 0.2 * near);
      if (t.kind === "front") { // a stem to the floor of the box says where it stands
        const [u, v] = project([-1, ...unit(t).slice(1)]);
        put(svg, "line", { class: "whisker", x1: x, y1: y, x2: u, y2: v });
      }
      const node = mark(svg, t.kind, x, y, r);
      node.dataset.trial = t.id;
      touchable(node, t);
      if (t.id === selected) put(svg, "circle", { class: "ring", cx: x, cy: y, r: 10 });
      else if (selected !== null && trialOf.get(selected).same.includes(t.id)) put(svg, "circle", { class: "same", cx: x, cy: y, r: 10 });
    }
  });
  followers.push(draw);
  let drag = null;
  svg.addEventListener("pointerdown", event => { drag = [event.clientX, event.clientY, turn, tilt]; });
  addEventListener("pointerup", () => { drag = null; });
  addEventListener("pointermove", event => {
    if (!drag) return;
    turn = drag[2] - (event.clientX - drag[0]) / 120;
    tilt = Math.min(1.4, Math.max(-0.2, drag[3] + (event.clientY - drag[1]) / 160));
    draw();
  });
  svg.addEventListener("keydown", event => {
    const by = { ArrowLeft: [-0.15, 0], ArrowRight: [0.15, 0], ArrowUp: [0, 0.1], ArrowDown: [0, -0.1] }[event.key];
    if (event.shiftKey && by) { event.preventDefault(); turn += by[0]; tilt = Math.min(1.4, Math.max(-0.2, tilt + by[1])); draw(); }
    else step(event, shown, o2.name, o1.name);
  });
}
