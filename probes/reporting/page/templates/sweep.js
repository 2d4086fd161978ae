// Sorts and filters the jobs of a sweep, and draws accuracy against each swept key.

const FIRST = 300;
const rows = [...document.querySelectorAll("#jobs tbody tr")];
const figures = [...document.querySelectorAll("figure[data-job]")];
const state = { filters: new Map(), text: "", all: false };

function shownJobs() {
  const words = state.text.toLowerCase().split(/\s+/).filter(Boolean);
  return (element) => {
    for (const [column, value] of state.filters) {
      if (element.dataset[column] !== undefined && element.dataset[column] !== value) return false;
    }
    return words.every((word) => (element.dataset.words || element.textContent).toLowerCase().includes(word));
  };
}

function apply() {
  const fits = shownJobs();
  let count = 0;
  for (const row of rows) {
    const fit = fits(row);
    count += fit;
    row.hidden = !fit || (!state.all && count > FIRST);
  }
  for (const figure of figures) figure.hidden = !fits(figure);
  const note = document.getElementById("count");
  note.textContent = count === rows.length ? `${count} rows` : `${count} of ${rows.length} rows`;
  const more = document.getElementById("more");
  more.hidden = state.all || count <= FIRST;
  more.textContent = `show all ${count}`;
}

function addFilters(place) {
  for (const filter of page.filters) {
    const label = node(place, "label", {}, `${filter.label} `);
    const select = node(label, "select");
    node(select, "option", { value: "" }, "all");
    filter.values.forEach((value, i) => node(select, "option", { value: String(i) }, value));
    select.addEventListener("change", () => {
      if (select.value === "") state.filters.delete(filter.column);
      else state.filters.set(filter.column, select.value);
      apply();
    });
  }
  const label = node(place, "label", {}, "text ");
  const input = node(label, "input", { type: "search", placeholder: "contains" });
  input.addEventListener("input", () => { state.text = input.value; apply(); });
  node(place, "span", { id: "count", class: "soft" });
  const more = node(place, "button", { id: "more", type: "button" });
  more.addEventListener("click", () => { state.all = true; apply(); });
}

function keyOf(row, index) {
  const cell = row.cells[index];
  if (cell === undefined) return null;
  if (cell.dataset.v !== undefined) return cell.dataset.v === "" ? null : Number(cell.dataset.v);
  return cell.textContent.trim();
}

function compare(a, b) {
  if (a === null || b === null) return (a === null) - (b === null);
  if (typeof a === "number" && typeof b === "number") return a - b;
  return String(a).localeCompare(String(b), undefined, { numeric: true });
}

function addSorting(table) {
  const headers = [...table.tHead.rows[0].cells];
  headers.forEach((header, index) => {
    header.tabIndex = 0;
    const sort = () => {
      const down = header.getAttribute("aria-sort") !== "descending" && header.classList.contains("number")
        || header.getAttribute("aria-sort") === "ascending";
      for (const other of headers) other.removeAttribute("aria-sort");
      header.setAttribute("aria-sort", down ? "descending" : "ascending");
      const keys = new Map(rows.map((row) => [row, keyOf(row, index)]));
      rows.sort((a, b) => {
        const x = keys.get(a), y = keys.get(b);
        if (x === null || y === null) return compare(x, y);  // cells without a number stay last
        return down ? -compare(x, y) : compare(x, y);
      });
      table.tBodies[0].append(...rows);
      apply();
    };
    header.addEventListener("click", sort);
    header.addEventListener("keydown", (event) => { if (event.key === "Enter") sort(); });
  });
}

// --- accuracy against a key ---------------------------------------------------------------------

function drawEffect(place, effect) {
  const width = Math.max(220, Math.min(620, 70 + 46 * effect.values.length)), height = 190;
  const left = 44, right = 16, top = 8, bottom = 44;
  const numbers = [...effect.series.flat(), ...effect.mean].filter((value) => value !== null);
  let low = Math.min(...numbers), high = Math.max(...numbers);
  const margin = Math.max(0.01, 0.06 * (high - low));
  low -= margin; high += margin;
  const x = (i) => left + (width - left - right) * (effect.values.length === 1 ? 0.5 : i / (effect.values.length - 1));
  const y = (value) => top + (height - top - bottom) * (1 - (value - low) / (high - low));
  const svg = node(place, "svg", { width, height, role: "img", "data-rendered": "effect",
    "aria-label": `${effect.feature}: accuracy on test against ${effect.key}` });
  const step = [0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5].find((s) => (high - low) / s <= 5) || 1;
  for (let tick = Math.ceil(low / step) * step; tick <= high; tick += step) {
    node(svg, "line", { x1: left, x2: width - right, y1: y(tick), y2: y(tick), stroke: RULE });
    node(svg, "text", { x: left - 6, y: y(tick) + 4, "text-anchor": "end" }, tick.toFixed(step < 0.01 ? 3 : 2));
  }
  const path = (values) => {
    const parts = [];
    values.forEach((value, i) => { if (value !== null) parts.push(`${parts.length ? "L" : "M"}${x(i).toFixed(1)},${y(value).toFixed(1)}`); });
    return parts.join("");
  };
  const faint = effect.series.length > 20 ? 0.18 : 0.4;
  for (const values of effect.series) {
    node(svg, "path", { d: path(values), fill: "none", stroke: "#8a91a0", "stroke-width": 1, "stroke-opacity": faint });
  }
  node(svg, "path", { d: path(effect.mean), fill: "none", stroke: "#1f5fa8", "stroke-width": 2.2 });
  effect.mean.forEach((value, i) => {
    if (value === null) return;
    const dot = node(svg, "circle", { cx: x(i), cy: y(value), r: 3.2, fill: "#1f5fa8" });
    node(dot, "title", {}, `${effect.key}=${effect.values[i]}: mean ${value.toFixed(3)}`);
  });
  const every = Math.ceil(effect.values.length / Math.max(1, Math.floor((width - left - right) / 44)));
  const room = Math.max(6, Math.floor((every * (width - left - right)) / Math.max(1, effect.values.length - 1) / 6));
  effect.values.forEach((value, i) => {
    if (i % every) return;
    const text = value.length > room ? value.slice(0, room - 1) + "…" : value;
    const anchor = i === 0 ? "start" : i === effect.values.length - 1 ? "end" : "middle";
    const label = node(svg, "text", { x: anchor === "start" ? x(i) - 6 : anchor === "end" ? x(i) + 6 : x(i), y: height - bottom + 16, "text-anchor": anchor }, text);
    if (text !== value) node(label, "title", {}, value);
  });
  node(svg, "text", { x: (left + width - right) / 2, y: height - 6, "text-anchor": "middle", style: `fill:${INK}` }, effect.key);
}

for (const place of document.querySelectorAll("[data-effect]")) drawEffect(place, page.effects[Number(place.dataset.effect)]);
const jobs = document.getElementById("jobs");
if (jobs && rows.length) { addFilters(document.getElementById("filters")); addSorting(jobs); apply(); }
