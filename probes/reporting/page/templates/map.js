// Draws the maps of a report or a sweep.

// --- numbers and colours ----------------------------------------------------------------------

function short(value, quantity) {
  if (value === null) return "";
  if (quantity.probability && value < 0.1) return value < 0.001 ? "<.001" : value.toFixed(3).slice(1);
  if (Math.abs(value) >= 100) return value.toFixed(0);
  if (value < -9.95) return value.toFixed(0);
  if (Math.abs(value) >= 0.995) return value.toFixed(1);
  const text = value.toFixed(2).replace("0.", ".");
  return text === "-.00" ? ".00" : text;
}

function long(value) {
  if (value === null || value === undefined) return "–";
  return Math.abs(value) >= 100 ? value.toFixed(0) : value.toFixed(3);
}

function position(value, quantity) {
  const at = quantity.log
    ? Math.log10(Math.max(value, 1e-9)) / -3
    : (value - quantity.anchor) / (quantity.best - quantity.anchor);
  return Math.max(quantity.log ? 0 : -1, Math.min(1, at));
}

function colour(value, quantity) {
  const at = position(value, quantity);
  const ramp = at >= 0 ? page.colours.better : quantity.diverging ? page.colours.less : page.colours.worse;
  return ramp[Math.round(Math.abs(at) * (ramp.length - 1))];
}

function lineLabel(name, quantity) {
  return quantity.diverging && name === "best" ? page.colours.largest : page.colours.labels[name];
}

function faded(hex) {
  return "#" + channels(hex).map((c) => Math.round(0.45 * c + 140.25).toString(16).padStart(2, "0")).join("");
}

// --- one stream -------------------------------------------------------------------------------

function drawCells(svg, panel, quantity, index, left, top, cell) {
  const layers = panel.layers.length;
  const frames = [];
  const values = panel.values[index];
  for (let i = 0; i < panel.row.length; i++) {
    if (values[i] === null) continue;
    const x = left + panel.column[i] * cell, y = top + (layers - 1 - panel.row[i]) * cell;
    const strong = panel.strong === null || panel.strong[i];
    const inset = strong ? Math.max(0.5, cell * 0.03) : cell * 0.19;
    const full = colour(values[i], quantity), fill = strong ? full : faded(full);
    // The transparent square takes the pointer everywhere in the cell.
    node(svg, "rect", { x: x + inset, y: y + inset, width: cell - 2 * inset, height: cell - 2 * inset,
      fill, stroke: strong ? "none" : "#d3d6dc", "stroke-width": 0.6, rx: Math.min(2, cell / 12) });
    if (cell >= 30) {
      node(svg, "text", { class: "value", x: x + cell / 2, y: y + cell / 2 + 4, "text-anchor": "middle",
        style: `fill:${strong ? inkOn(fill) : SOFT};font-size:${strong ? 11 : 9.5}px` }, short(values[i], quantity));
    }
    node(svg, "rect", { class: "cell", x, y, width: cell, height: cell, fill: "transparent", "data-cell": i });
    if (panel.rank[i]) frames.push([i, x, y]);
  }
  for (const [i, x, y] of frames) {
    const out = cell < 18 ? 1.5 : -0.5, size = cell + 2 * out;
    for (const [stroke, width] of [["#fff", 4], [INK, 2]]) {
      node(svg, "rect", { class: "frame", x: x - out, y: y - out, width: size, height: size, stroke, "stroke-width": width, rx: 2 });
    }
    // Inside the frame or not at all: beside it the number would be in another head's cell.
    if (cell < 10) continue;
    const type = Math.min(11, cell * 0.6);
    node(svg, "text", cell >= 30
      ? { class: "rank", x: x + 4, y: y + 11, style: "font-size:9px" }
      : { class: "rank", x: x + cell / 2, y: y + cell / 2 + type * 0.36, "text-anchor": "middle",
        style: `font-size:${type}px` }, panel.rank[i]);
  }
}

function drawAxes(svg, panel, feature, left, top, cell) {
  const layers = panel.layers.length, heads = panel.heads.length;
  const every = (room) => [1, 2, 4, 5, 8, 10, 16, 20, 32, 64].find((s) => s * cell >= room) || 100;
  for (let i = 0; i < layers; i += every(13)) {
    node(svg, "text", { x: left - 7, y: top + (layers - 0.5 - i) * cell + 4, "text-anchor": "end" }, panel.layers[i]);
  }
  const bottom = top + layers * cell;
  if (!feature.whole) {
    for (let i = 0; i < heads; i += every(20)) {
      node(svg, "text", { x: left + (i + 0.5) * cell, y: bottom + 14, "text-anchor": "middle" }, panel.heads[i]);
    }
  }
  node(svg, "text", { x: left + heads * cell / 2, y: bottom + 31, "text-anchor": "middle", style: `fill:${INK}` },
    feature.whole ? feature.site.replace("_", " ") : "head");
  const tall = layers * cell > 150;
  const label = node(svg, "text", { "text-anchor": "middle", style: `fill:${INK}`,
    transform: `translate(${tall ? left - 32 : left - 36}, ${top + layers * cell / 2}) rotate(-90)` });
  if (tall) label.textContent = `layer (${panel.layers[0]} at the bottom)`;
  else {
    node(label, "tspan", { x: 0, dy: 0 }, "layer,");
    node(label, "tspan", { x: 0, dy: 12 }, `${panel.layers[0]} at bottom`);
  }
}

function niceTicks(low, high, count) {
  const raw = (high - low) / count, power = 10 ** Math.floor(Math.log10(raw));
  const step = power * [1, 2, 2.5, 5, 10].find((s) => s * power >= raw);
  const ticks = [];
  for (let t = Math.ceil(low / step) * step; t <= high + step * 1e-6; t += step) ticks.push(t);
  return ticks;
}

function drawProfile(svg, panel, quantity, index, left, top, cell, width) {
  const profile = panel.profiles[index], layers = panel.layers.length;
  const names = Object.keys(page.colours.profile).filter((name) => profile[name]);
  const all = Object.entries(profile).flatMap(([, numbers]) => numbers).filter((v) => v !== null);
  if (quantity.anchorLabel) all.push(quantity.anchor);
  let low = Math.min(...all), high = Math.max(...all);
  if (!(high > low)) { low -= 0.05; high += 0.05; }
  const pad = 0.05 * (high - low); low -= pad; high += pad;
  const x = (v) => left + (v - low) / (high - low) * width;
  const y = (i) => top + (layers - 0.5 - i) * cell, bottom = top + layers * cell;
  for (const tick of niceTicks(low, high, 4)) {
    node(svg, "line", { x1: x(tick), x2: x(tick), y1: top, y2: bottom, stroke: RULE });
    node(svg, "text", { x: x(tick), y: bottom + 14, "text-anchor": "middle" }, +tick.toPrecision(3));
  }
  node(svg, "line", { x1: left, x2: left + width, y1: bottom, y2: bottom, stroke: "#c9cdd6" });
  node(svg, "text", { x: left + width / 2, y: bottom + 31, "text-anchor": "middle", style: `fill:${INK}` }, quantity.label);
  if (quantity.anchorLabel) {
    node(svg, "line", { x1: x(quantity.anchor), x2: x(quantity.anchor), y1: top, y2: bottom, stroke: SOFT, "stroke-dasharray": "4 3" });
  }
  for (const name of names) {
    const lows = profile[name + "_low"], highs = profile[name + "_high"];
    if (lows && highs) {
      const known = lows.map((v, i) => i).filter((i) => lows[i] !== null && highs[i] !== null);
      const edge = [...known.map((i) => `${x(highs[i])},${y(i)}`), ...known.reverse().map((i) => `${x(lows[i])},${y(i)}`)];
      node(svg, "polygon", { points: edge.join(" "), fill: page.colours.profile[name], opacity: 0.14 });
    }
  }
  for (const name of names) {
    const known = profile[name].map((v, i) => [v, i]).filter(([v]) => v !== null);
    node(svg, "polyline", { points: known.map(([v, i]) => `${x(v)},${y(i)}`).join(" "), fill: "none",
      stroke: page.colours.profile[name], "stroke-width": 1.6 });
    for (const [v, i] of layers <= 48 ? known : []) {
      const dot = node(svg, "circle", { cx: x(v), cy: y(i), r: 3, fill: page.colours.profile[name] });
      const range = profile[name + "_low"] ? ` [${long(profile[name + "_low"][i])}, ${long(profile[name + "_high"][i])}]` : "";
      node(dot, "title", {}, `layer ${panel.layers[i]}, ${lineLabel(name, quantity)}: ${long(v)}${range}`);
    }
  }
  return names;
}

function drawScale(parent, feature, quantity, width = 300) {
  const svg = node(parent, "svg", { width: width + 120, height: 54, role: "img", "aria-label": `colour scale of ${quantity.label}` });
  const low = quantity.log ? 0 : quantity.diverging ? -1 : Math.min(0, (quantity.worst - quantity.anchor) / (quantity.best - quantity.anchor));
  const left = 44, at = (p) => left + (p - low) / (1 - low) * width;
  const steps = 150;
  for (let i = 0; i < steps; i++) {
    const p = low + (i + 0.5) / steps * (1 - low);
    const ramp = p >= 0 ? page.colours.better : quantity.diverging ? page.colours.less : page.colours.worse;
    node(svg, "rect", { x: left + i * width / steps, y: 14, width: width / steps + 0.6, height: 11,
      fill: ramp[Math.round(Math.min(1, Math.abs(p)) * (ramp.length - 1))] });
  }
  const ticks = quantity.log ? [[0, "1"], [1 / 3, ".1"], [2 / 3, ".01"], [1, "≤.001"]]
    : [[0, short(quantity.anchor, quantity)], [1, short(quantity.best, quantity)]];
  if (low < -0.12) ticks.push([low, short(quantity.diverging ? -quantity.best : quantity.worst, quantity)]);
  for (const [p, text] of ticks) {
    node(svg, "line", { x1: at(p), x2: at(p), y1: 25, y2: 28, stroke: "#9aa1ae" });
    node(svg, "text", { x: at(p), y: 39, "text-anchor": "middle" }, text);
  }
  if (quantity.anchorLabel && !quantity.log) {
    node(svg, "text", { x: at(0), y: 51, "text-anchor": "middle" }, quantity.anchorLabel);
  }
  node(svg, "text", { x: left, y: 9 }, quantity.label + (quantity.lower ? " (lower is better)" : ""));
}

// --- hover ------------------------------------------------------------------------------------

function describe(feature, panel, i) {
  tip.replaceChildren();
  const head = feature.whole ? "" : ` · head ${panel.heads[panel.column[i]]}`;
  const stream = feature.panels.length > 1 ? `${panel.stream} · ` : "";
  const rank = panel.rank[i] ? ` · rank ${panel.rank[i]} on validation` : "";
  node(tip, "b", {}, `${stream}layer ${panel.layers[panel.row[i]]}${head}${rank}`);
  const body = node(node(tip, "table"), "tbody");
  feature.quantities.forEach((quantity, q) => {
    if (panel.values[q][i] === null) return;
    const row = node(body, "tr");
    node(row, "td", {}, quantity.label);
    node(row, "td", { class: "number" }, long(panel.values[q][i]));
    const low = panel.low[q][i], high = panel.high[q][i];
    node(row, "td", { class: "interval" }, low === null || high === null ? "" : `[${long(low)}, ${long(high)}]`);
  });
  if (panel.validation[i] !== null) {
    const row = node(body, "tr");
    node(row, "td", {}, `${feature.quantities[0].label}, validation`);
    node(row, "td", { class: "number" }, long(panel.validation[i]));
    node(row, "td");
  }
  if (panel.n[i] !== null) {
    const row = node(body, "tr");
    node(row, "td", {}, "test rows");
    node(row, "td", { class: "number" }, panel.n[i]);
    node(row, "td");
  }
  const recalls = Object.entries(panel.recall).filter(([, numbers]) => numbers[i] !== null);
  if (recalls.length) {
    const row = node(body, "tr");
    node(row, "td", { colspan: 3, style: "padding-top:6px" }, "recall by class");
    for (const [name, numbers] of recalls.slice(0, 24)) {
      const line = node(body, "tr");
      node(line, "td", {}, name);
      node(line, "td", { class: "number" }, long(numbers[i]));
      node(node(line, "td"), "span", { class: "bar", style: `width:${Math.round(60 * numbers[i])}px` });
    }
  }
  if (panel.strong !== null && !panel.strong[i]) node(tip, "div", { class: "soft" }, `not ${feature.evidence.replace(/^with /, "")}`);
}

// --- a feature --------------------------------------------------------------------------------

function drawFeature(place, feature, index) {
  const quantity = feature.quantities[index];
  place.replaceChildren();
  node(place, "p", { class: "about" }, quantity.about);
  const panels = node(place, "div", { class: "panels" });
  const widest = Math.max(...feature.panels.map((panel) => panel.heads.length));
  const deepest = Math.max(...feature.panels.map((panel) => panel.layers.length));
  const cell = Math.max(9, Math.min(54, 800 / widest, 680 / deepest));
  const shown = new Set();
  for (const panel of feature.panels) {
    if (panel.values[index].every((value) => value === null)) continue; // not known of this stream
    const box = node(panels, "div", { class: "panel scroll" });
    if (feature.panels.length > 1) node(box, "h4", {}, panel.stream === "cross" ? "cross-attention" : panel.stream);
    const left = 50, top = 10, gap = 44, width = 270;
    const mapWidth = panel.heads.length * cell, mapHeight = panel.layers.length * cell;
    const svg = node(box, "svg", { width: left + mapWidth + gap + width + 14, height: top + mapHeight + 40, role: "img",
      "aria-label": `${feature.name}: ${quantity.label}, ${feature.whole ? "by layer" : "layers by heads"}`, "data-rendered": "map" });
    drawAxes(svg, panel, feature, left, top, cell);
    drawCells(svg, panel, quantity, index, left, top, cell);
    if (Object.keys(panel.profiles[index]).length) {
      for (const name of drawProfile(svg, panel, quantity, index, left + mapWidth + gap, top, cell, width)) shown.add(name);
    }
    follow(svg, (i) => describe(feature, panel, i));
  }
  drawScale(place, feature, quantity);
  const legend = node(place, "div", { class: "legend" });
  for (const name of shown) {
    const entry = node(legend, "span");
    node(entry, "i", { style: `border-color:${page.colours.profile[name]}` });
    entry.append(lineLabel(name, quantity));
  }
  if (quantity.anchorLabel && shown.size) {
    const entry = node(legend, "span");
    node(entry, "i", { style: `border-top:1.5px dashed ${SOFT}` });
    entry.append(quantity.anchorLabel);
  }
}

function addSwitch(place, feature, draw) {
  if (feature.quantities.length < 2) return;
  const group = node(place, "div", { class: "switch", role: "radiogroup", "aria-label": "what the map shows" });
  feature.quantities.forEach((quantity, q) => {
    if (!quantity.switch) return;
    const button = node(group, "button", { type: "button", role: "radio", "aria-checked": q === 0, "data-quantity": quantity.name }, quantity.label);
    button.addEventListener("click", () => {
      for (const other of group.children) other.setAttribute("aria-checked", other === button);
      draw(q);
    });
  });
}

function fillTable(details, feature) {
  const table = node(node(details, "div", { class: "scroll" }), "table");
  const cells = feature.panels.flatMap((panel) => panel.row.map((_, i) => [panel, i]));
  const columns = [
    ...(feature.panels.length > 1 ? [["stream", ([panel]) => panel.stream]] : []),
    ["layer", ([panel, i]) => panel.layers[panel.row[i]]],
    ...(feature.whole ? [] : [["head", ([panel, i]) => Number(panel.heads[panel.column[i]])]]),
    [`${feature.quantities[0].label}, validation`, ([panel, i]) => panel.validation[i]],
    ...feature.quantities.map((quantity, q) => [quantity.label, ([panel, i]) => panel.values[q][i]]),
  ];
  const header = node(node(table, "thead"), "tr"), body = node(table, "tbody");
  const whole = new Set(["layer", "head"]);
  const fill = () => {
    body.replaceChildren();
    for (const cell of cells) {
      const row = node(body, "tr");
      for (const [name, get] of columns) {
        const value = get(cell);
        node(row, "td", { class: "number" }, typeof value === "string" || whole.has(name) ? value : long(value));
      }
    }
  };
  columns.forEach(([name, get]) => {
    let sign = 1;
    node(header, "th", { class: "number", "data-sort": "" }, name).addEventListener("click", () => {
      sign = -sign;
      cells.sort((a, b) => { const x = get(a), y = get(b); return x === y ? 0 : sign * ((x ?? -Infinity) < (y ?? -Infinity) ? -1 : 1); });
      fill();
    });
  });
  fill();
}

for (const place of document.querySelectorAll("[data-feature]")) {
  const feature = page.features[Number(place.dataset.feature)];
  if (!feature.quantities.length) continue;
  const holder = document.createElement("div");
  const draw = (q) => drawFeature(holder, feature, q);
  addSwitch(place, feature, draw);
  place.append(holder);
  draw(0);
}
for (const details of document.querySelectorAll("details[data-table]")) {
  details.addEventListener("toggle", () => {
    if (details.open && !details.querySelector("table")) fillTable(details, page.features[Number(details.dataset.table)]);
  });
}

// --- small multiples --------------------------------------------------------------------------

for (const place of document.querySelectorAll("[data-small]")) {
  const feature = page.features[Number(place.dataset.small)];
  const quantity = feature.quantities[0];
  if (!quantity) continue;
  for (const panel of feature.panels) {
    if (panel.values[0].every((value) => value === null)) continue;
    const room = 256, cell = Math.max(2, Math.min(20, room / panel.heads.length, 220 / panel.layers.length));
    if (feature.panels.length > 1) node(place, "div", { class: "soft" }, panel.stream);
    const svg = node(place, "svg", { width: panel.heads.length * cell + 4, height: panel.layers.length * cell + 4, role: "img",
      "aria-label": `${feature.name}: ${quantity.label}`, "data-rendered": "small" });
    for (let i = 0; i < panel.row.length; i++) {
      const value = panel.values[0][i];
      if (value === null) continue;
      const strong = panel.strong === null || panel.strong[i], full = colour(value, quantity);
      const inset = strong ? cell * 0.03 : cell * 0.2;
      const rect = node(svg, "rect", { x: 2 + panel.column[i] * cell + inset, y: 2 + (panel.layers.length - 1 - panel.row[i]) * cell + inset,
        width: cell - 2 * inset, height: cell - 2 * inset, fill: strong ? full : faded(full) });
      const head = feature.whole ? "" : ` head ${panel.heads[panel.column[i]]}`;
      node(rect, "title", {}, `layer ${panel.layers[panel.row[i]]}${head}: ${long(value)}`);
    }
    const best = panel.rank.indexOf(1);
    for (const [stroke, width] of best < 0 ? [] : [["#fff", 3.5], [INK, 1.8]]) {
      node(svg, "rect", { class: "frame", x: 2 + panel.column[best] * cell - 1, y: 2 + (panel.layers.length - 1 - panel.row[best]) * cell - 1,
        width: cell + 2, height: cell + 2, stroke, "stroke-width": width, rx: 1 });
    }
  }
}
for (const place of document.querySelectorAll("[data-scale]")) {
  const feature = page.features[Number(place.dataset.scale)];
  if (feature.quantities.length) drawScale(place, feature, feature.quantities[0]);
}
document.documentElement.dataset.ready = "true";
