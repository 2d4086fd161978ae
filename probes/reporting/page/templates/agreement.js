// Draws the methods' maps side by side, and one method against another.

const BOTH = "#c2410c", FIRST = "#2a6bab", SECOND = "#7a4f8f", NEITHER = "#b9bfca";

function drawMethod(place, feature) {
  const quantity = feature.quantities[0];
  if (!quantity) return;
  for (const panel of feature.panels) {
    if (feature.panels.length > 1) node(place, "h4", {}, panel.stream === "cross" ? "cross-attention" : panel.stream);
    const cell = Math.max(4, Math.min(24, 230 / panel.heads.length, 420 / panel.layers.length)), left = 50, top = 8;
    const svg = node(node(place, "div", { class: "scroll" }), "svg", { width: left + Math.max(60, panel.heads.length * cell) + 8,
      height: top + panel.layers.length * cell + 38, role: "img", "aria-label": `${feature.label}: ${quantity.label}`, "data-rendered": "method" });
    drawAxes(svg, panel, feature, left, top, cell);
    drawCells(svg, panel, quantity, 0, left, top, cell);
    follow(svg, (i) => describe(feature, panel, i));
  }
  drawScale(place, feature, quantity, 150);
}

// Value of each head by its name, of the quantity that a map is about.
function valuesByHead(feature) {
  const values = new Map(), several = feature.panels.length > 1;
  for (const panel of feature.panels) {
    panel.row.forEach((row, i) => {
      const name = `${several ? `${panel.stream} ` : ""}${panel.layers[row]}.${panel.heads[panel.column[i]]}`;
      if (panel.values[0][i] !== null) values.set(name, { value: panel.values[0][i], key: `${panel.stream} ${panel.layers[row]}.${panel.heads[panel.column[i]]}` });
    });
  }
  return values;
}

function axisRange(values, anchor) {
  let low = Math.min(...values, anchor), high = Math.max(...values, anchor);
  if (!(high > low)) { low -= 0.05; high += 0.05; }
  const pad = 0.06 * (high - low);
  return [low - pad, high + pad];
}

function drawScatter(place, first, second) {
  place.replaceChildren();
  const a = valuesByHead(first), b = valuesByHead(second);
  const heads = [...a.keys()].filter((name) => b.has(name));
  const named = [new Set(first.named), new Set(second.named)];
  const width = 560, height = 400, left = 62, top = 12, right = 14, bottom = 44;
  const svg = node(node(place, "div", { class: "scroll" }), "svg", { width, height, role: "img",
    "aria-label": `${second.label} against ${first.label}`, "data-rendered": "scatter" });
  const [qx, qy] = [first.quantities[0], second.quantities[0]];
  const [lowX, highX] = axisRange(heads.map((name) => a.get(name).value), qx.anchor);
  const [lowY, highY] = axisRange(heads.map((name) => b.get(name).value), qy.anchor);
  const x = (v) => left + (v - lowX) / (highX - lowX) * (width - left - right);
  const y = (v) => top + (highY - v) / (highY - lowY) * (height - top - bottom);
  for (const tick of niceTicks(lowX, highX, 6)) {
    node(svg, "line", { x1: x(tick), x2: x(tick), y1: top, y2: height - bottom, stroke: RULE });
    node(svg, "text", { x: x(tick), y: height - bottom + 15, "text-anchor": "middle" }, +tick.toPrecision(3));
  }
  for (const tick of niceTicks(lowY, highY, 5)) {
    node(svg, "line", { x1: left, x2: width - right, y1: y(tick), y2: y(tick), stroke: RULE });
    node(svg, "text", { x: left - 6, y: y(tick) + 4, "text-anchor": "end" }, +tick.toPrecision(3));
  }
  node(svg, "line", { x1: x(qx.anchor), x2: x(qx.anchor), y1: top, y2: height - bottom, stroke: SOFT, "stroke-dasharray": "4 3" });
  node(svg, "line", { x1: left, x2: width - right, y1: y(qy.anchor), y2: y(qy.anchor), stroke: SOFT, "stroke-dasharray": "4 3" });
  node(svg, "text", { x: (left + width - right) / 2, y: height - 8, "text-anchor": "middle", style: `fill:${INK}` }, `${first.label}: ${qx.label}`);
  node(svg, "text", { "text-anchor": "middle", style: `fill:${INK}`, transform: `translate(14, ${(top + height - bottom) / 2}) rotate(-90)` },
    `${second.label}: ${qy.label}`);
  const colourOf = (key) => named[0].has(key) ? (named[1].has(key) ? BOTH : FIRST) : named[1].has(key) ? SECOND : NEITHER;
  const order = heads.map((name, i) => [name, i]).sort(([m], [n]) => (colourOf(a.get(n).key) === NEITHER) - (colourOf(a.get(m).key) === NEITHER));
  for (const [name, i] of order) {
    const colour = colourOf(a.get(name).key), plain = colour === NEITHER;
    node(svg, "circle", { cx: x(a.get(name).value), cy: y(b.get(name).value), r: plain ? 3 : 4.5, fill: colour, opacity: plain ? 0.75 : 1, "data-cell": i });
  }
  // Names of the heads that a method names, moved down where they would stand on another name.
  const placed = [];
  for (const name of heads) {
    const colour = colourOf(a.get(name).key);
    if (colour === NEITHER) continue;
    const px = x(a.get(name).value), before = px > width - right - 46;
    let py = y(b.get(name).value) + 4;
    const from = before ? px - 8 - 6.5 * name.length : px + 8;
    for (let tries = 0; tries < 12 && placed.some(([u, v, w]) => Math.abs(py - v) < 11 && from < u + w && u < from + 6.5 * name.length); tries++) py += 11;
    if (py > height - bottom - 2) continue;
    placed.push([from, py, 6.5 * name.length]);
    node(svg, "text", { x: before ? px - 8 : px + 8, y: py, "text-anchor": before ? "end" : "start", style: `fill:${colour};font-size:11px;font-weight:600` }, name);
  }
  follow(svg, (i) => {
    tip.replaceChildren();
    node(tip, "b", {}, `head ${heads[i]}`);
    const body = node(node(tip, "table"), "tbody");
    for (const [feature, values] of [[first, a], [second, b]]) {
      const row = node(body, "tr");
      node(row, "td", {}, feature.label);
      node(row, "td", { class: "number" }, long(values.get(heads[i]).value));
    }
  });
  const legend = node(place, "div", { class: "legend" });
  for (const [colour, text] of [[BOTH, "named by both"], [FIRST, `by ${first.label} only`], [SECOND, `by ${second.label} only`], [NEITHER, "by neither"]]) {
    const entry = node(legend, "span");
    node(entry, "i", { style: `border:5px solid ${colour};border-radius:50%;width:0;height:0` });
    entry.append(text);
  }
}

function addScatter(place, pairs) {
  const label = node(place, "label", { class: "soft" }, "Heads by ");
  const select = node(label, "select", { "aria-label": "which two methods" });
  const drawn = node(place, "div");
  pairs.forEach(([a, b], i) => node(select, "option", { value: i }, `${page.features[a].label}  ×  ${page.features[b].label}`));
  const draw = () => { const [a, b] = pairs[Number(select.value)]; drawScatter(drawn, page.features[a], page.features[b]); };
  select.addEventListener("change", draw);
  draw();
}

for (const place of document.querySelectorAll("[data-method]")) drawMethod(place, page.features[Number(place.dataset.method)]);
for (const place of document.querySelectorAll("[data-agreement]")) addScatter(place, page.agreements[Number(place.dataset.agreement)]);
// A whole map of a method is drawn when it is first looked at: a large model has many cells.
for (const details of document.querySelectorAll("details[data-whole]")) {
  details.addEventListener("toggle", () => {
    const place = details.querySelector("[data-later]");
    if (!details.open || !place || place.children.length) return;
    const feature = page.features[Number(details.dataset.whole)];
    const holder = document.createElement("div"), draw = (q) => drawFeature(holder, feature, q);
    addSwitch(place, feature, draw);
    place.append(holder);
    draw(0);
  });
}
