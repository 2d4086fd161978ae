// Draws the stage maps of an atlas.

function describe(stream, cell) {
  tip.replaceChildren();
  node(tip, "b", {}, `${stream}layer ${cell.layer} · head ${cell.head}`);
  if (!cell.features.length) { node(tip, "div", { class: "soft" }, "nothing significant of this stage"); return; }
  const table = node(tip, "table");
  const header = node(node(table, "thead"), "tr");
  for (const name of ["feature", "score", "accuracy", "majority"]) node(header, "th", { style: "padding-right:12px" }, name);
  const body = node(table, "tbody");
  for (const one of cell.features) {
    const row = node(body, "tr");
    node(row, "td", {}, one.label);
    for (const value of [one.score, one.value, one.majority]) node(row, "td", { class: "number" }, value.toFixed(3));
  }
}

function drawPanel(place, stage, panel, several) {
  const box = node(place, "div", { class: "panel scroll" });
  if (several) node(box, "h4", {}, panel.stream);
  const layers = 1 + Math.max(...panel.cells.map((cell) => cell.layer));
  const heads = 1 + Math.max(...panel.cells.map((cell) => cell.head));
  const size = Math.max(9, Math.min(44, 640 / heads, 640 / layers)), left = 50, top = 8;
  const svg = node(box, "svg", { width: left + heads * size + 6, height: top + layers * size + 40, role: "img",
    "aria-label": `${stage.title}: strongest feature of each head`, "data-rendered": "atlas" });
  const every = Math.max(1, Math.round(18 / size));
  for (let i = 0; i < layers; i += every) {
    node(svg, "text", { x: left - 8, y: top + (layers - 0.5 - i) * size + 4, "text-anchor": "end" }, i);
  }
  for (let i = 0; i < heads; i += every) {
    node(svg, "text", { x: left + (i + 0.5) * size, y: top + layers * size + 15, "text-anchor": "middle" }, i);
  }
  node(svg, "text", { x: left + heads * size / 2, y: top + layers * size + 32, "text-anchor": "middle", style: `fill:${INK}` }, "head");
  node(svg, "text", { "text-anchor": "middle", style: `fill:${INK}`,
    transform: `translate(14, ${top + layers * size / 2}) rotate(-90)` }, "layer");
  panel.cells.forEach((cell, i) => {
    const x = left + cell.head * size, y = top + (layers - 1 - cell.layer) * size;
    const inset = cell.number ? Math.max(0.5, size * 0.03) : size * 0.3;
    node(svg, "rect", { x: x + inset, y: y + inset, width: size - 2 * inset, height: size - 2 * inset,
      rx: Math.min(3, size / 12), fill: cell.number ? cell.fill : "#e6e9ee" });
    if (cell.number && size >= 16) {
      node(svg, "text", { class: "value", x: x + size / 2, y: y + size / 2 + 4, "text-anchor": "middle", style: `fill:${inkOn(cell.fill)}` }, cell.number);
    }
    node(svg, "rect", { class: "cell", x, y, width: size, height: size, fill: "transparent", "data-cell": i });
  });
  follow(svg, (i) => describe(several ? `${panel.stream} · ` : "", panel.cells[i]));
}

for (const place of document.querySelectorAll("[data-stage]")) {
  const stage = page.stages[Number(place.dataset.stage)];
  for (const panel of stage.panels) drawPanel(place, stage, panel, stage.panels.length > 1);
  const key = node(place, "div", { class: "key" });
  for (const one of stage.legend) {
    node(key, "i", { style: `background:${one.colour};color:${inkOn(one.colour)}` }, one.number);
    node(key, "span", {}, one.label);
    node(key, "span", {}, one.heads === 1 ? "1 head" : `${one.heads} heads`);
  }
}
document.documentElement.dataset.ready = "true";
