// Elements are made here, of text alone: nothing that a server sends is read as HTML.

const SVG = "http://www.w3.org/2000/svg";

/** An element with attributes, and children that are elements or text. */
export function element(name, attributes = {}, ...children) {
  return filled(document.createElement(name), attributes, children);
}

export function svg(name, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, name), attributes, children);
}

function filled(made, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") made.addEventListener(name, value);
    else made.setAttribute(name, value);
  }
  made.append(...children); // a string becomes a text node
  return made;
}

export const find = (id) => document.getElementById(id);

export function figures(pairs) {
  const list = element("dl", { class: "figures" });
  for (const [name, value] of pairs) list.append(element("div", {}, element("dt", {}, name), element("dd", {}, value)));
  return list;
}

export const legend = (entries) =>
  element("ul", { class: "legend" }, ...entries.map(([kind, text]) => element("li", {}, element("i", { class: kind }), text)));

const UNITS = ["B", "kB", "MB", "GB", "TB"];

export function bytes(count) {
  let unit = 0;
  let size = Number(count);
  while (size >= 1000 && unit < UNITS.length - 1) {
    size /= 1000;
    unit += 1;
  }
  return `${size >= 100 || unit === 0 ? Math.round(size) : size.toFixed(1)} ${UNITS[unit]}`;
}

export const whole = (count) => Number(count).toLocaleString("en");
