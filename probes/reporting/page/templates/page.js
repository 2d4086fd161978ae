"use strict";
// What the scripts of all pages share. Their data is in the JSON element "data". Text from the data
// only ever becomes text nodes, so that no name in it can become markup.

const NS = "http://www.w3.org/2000/svg";
const page = JSON.parse(document.getElementById("data").textContent);
const INK = "#1d2230", SOFT = "#5b6372", RULE = "#e3e6ec";

function node(parent, tag, attributes = {}, text = null) {
  const made = parent instanceof SVGElement || tag === "svg"
    ? document.createElementNS(NS, tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  if (text !== null) made.textContent = text;
  parent.append(made);
  return made;
}

function channels(hex) { return [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16)); }

function inkOn(hex) {
  const [r, g, b] = channels(hex);
  return 0.299 * r + 0.587 * g + 0.114 * b < 140 ? "#fff" : INK;
}

const tip = node(document.body, "div", { id: "tip", hidden: "" });

// Shows what describe(i) puts into the tip while the pointer is over the element with data-cell i.
function follow(svg, describe) {
  svg.addEventListener("pointermove", (event) => {
    const i = event.target.dataset ? event.target.dataset.cell : undefined;
    if (i === undefined) { tip.hidden = true; return; }
    describe(Number(i));
    tip.hidden = false;
    const box = tip.getBoundingClientRect();
    const right = event.clientX + 18 + box.width < document.documentElement.clientWidth;
    const below = event.clientY + 14 + box.height < window.innerHeight;
    tip.style.left = `${window.scrollX + (right ? event.clientX + 16 : Math.max(4, event.clientX - 16 - box.width))}px`;
    tip.style.top = `${window.scrollY + (below ? event.clientY + 12 : Math.max(4, event.clientY - 12 - box.height))}px`;
  });
  svg.addEventListener("pointerleave", () => { tip.hidden = true; });
}
