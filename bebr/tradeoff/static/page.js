"use strict";
// Draws the curves of the figures in #data. Elements are made of text alone: no name is read as HTML.

(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const { rows, series } = data;
  const find = (id) => document.getElementById(id);
  const SVG = "http://www.w3.org/2000/svg";
  const HEIGHT = 300; // a unit of a picture is a pixel, so that words keep their size
  const LEFT = 40;
  const RIGHT = 12;
  const TOP = 10;
  const BOTTOM = 38;
  const NEAR = 28; // pixels of the screen from which a mark is pointed at
  let width = 420;
  let count = data.n ?? 1000000;

  // Elements

  const filled = (made, attributes, children) => {
    for (const [name, value] of Object.entries(attributes)) {
      if (typeof value === "function") made.addEventListener(name, value);
      else made.setAttribute(name, value);
    }
    made.append(...children); // a string becomes a text node
    return made;
  };
  const element = (name, attributes = {}, ...children) => filled(document.createElement(name), attributes, children);
  const svg = (name, attributes = {}, ...children) => filled(document.createElementNS(SVG, name), attributes, children);

  // Words

  const whole = (value) => Math.round(value).toLocaleString("en");
  const size = (bytes) => {
    const units = ["B", "kB", "MB", "GB", "TB", "PB", "EB"];
    let unit = 0;
    for (; bytes >= 999.5 && unit < units.length - 1; unit += 1) bytes /= 1000;
    return `${Number(bytes.toPrecision(3))} ${units[unit]}`;
  };
  const short = (value) => {
    for (const [unit, of] of [["G", 1e9], ["M", 1e6], ["k", 1e3]]) if (value >= of) return `${value / of}${unit}`;
    return String(value);
  };
  const memory = (row) => row.bytes_per_vector * count;
  const shown = new Set(series.map((_, place) => place));
  const seriesOf = new Map(series.flatMap((one, place) => one.points.map((row) => [row, place])));

  // Marks: a circle for bebr, another shape for each code of a peer

  const SHAPES = [
    "M-4-4H4V4H-4Z", "M0-5.5 5.5 0 0 5.5-5.5 0Z", "M0-5 5 4H-5Z", "M0 5 5-4H-5Z", "M-5 0 4-5V5Z", "M5 0-4-5V5Z",
    "M-4-4 4 4M-4 4 4-4", "M0-5V5M-5 0H5", "M0-5 4.8-1.5 3 4H-3L-4.8-1.5Z", "M-5 0-2.5-4.3H2.5L5 0 2.5 4.3H-2.5Z",
  ];
  const mark = (one) => {
    if (one.peer) return svg("path", { class: "mark", d: SHAPES[one.mark % SHAPES.length] });
    return svg("circle", { class: one.sdc ? "mark sdc" : "mark", r: one.lead ? 5 : 3.8 });
  };
  const colour = (one) => `--colour: var(--${one.colour})`;
  const curveClass = (one) => `curve${one.lead ? " lead" : ""}${one.sdc ? " sdc" : ""}${one.peer ? " peer" : ""}`;

  // Axes

  const visible = () => {
    const found = rows.map((_, row) => row).filter((row) => shown.has(seriesOf.get(row)));
    return found.length ? found : rows.map((_, row) => row);
  };
  const logAxis = (values) => {
    const low = Math.min(...values) / 1.35;
    const high = Math.max(...values) * 1.35;
    return { low, high, at: (value) => LEFT + (Math.log(value / low) / Math.log(high / low)) * (width - LEFT - RIGHT) };
  };
  const logTicks = ({ low, high }, doubled) => {
    const ticks = [];
    const steps = doubled ? [1] : high / low < 0.15 * width ? [1, 2, 5] : [1];
    const factor = doubled ? 2 : 10;
    for (let power = factor ** Math.floor(Math.log(low) / Math.log(factor)); power <= high; power *= factor) {
      for (const step of steps) if (step * power >= low && step * power <= high) ticks.push(step * power);
    }
    return ticks.map((tick) => Number(tick.toPrecision(6)));
  };
  const recallAxis = (points) => {
    const least = Math.min(...points.map((row) => rows[row].recall));
    const step = least > 0.9 ? 0.02 : least > 0.6 ? 0.05 : 0.1;
    const low = Math.max(0, Math.floor((least - 0.005) / step) * step);
    const ticks = [];
    for (let value = low; value < 1.0001; value += step) ticks.push(value);
    return { ticks, at: (value) => TOP + (1 - (value - low) / (1 - low)) * (HEIGHT - TOP - BOTTOM) };
  };

  // Charts

  const CHARTS = [
    { name: "bytes", title: "Recall and bytes", axis: "bytes a vector (left is smaller)", x: (row) => row.bytes_per_vector, lines: true, tick: whole, doubled: true },
    { name: "speed", title: "Recall and speed", axis: `queries a second, ${rows[0].threads} thread${rows[0].threads > 1 ? "s" : ""} (right is faster)`, x: (row) => row.queries_per_second, lines: false, tick: short },
    { name: "memory", title: "Recall and memory", axis: "", x: memory, lines: true, tick: size },
  ];
  for (const chart of CHARTS) {
    chart.picture = svg("svg", { tabindex: "0", role: "group", "aria-label": `${chart.title}: arrow keys move from mark to mark` });
    chart.tip = element("div", { class: "tip", role: "status", hidden: "" });
    chart.figure = element("figure", { "data-chart": chart.name }, element("figcaption", {}, chart.title), chart.picture, chart.tip);
    find("charts").append(chart.figure);
    listen(chart);
  }

  function draw(chart) {
    width = Math.max(260, chart.figure.clientWidth);
    chart.picture.setAttribute("viewBox", `0 0 ${width} ${HEIGHT}`);
    const points = visible();
    const exact = chart.name === "memory" && data.d ? 4 * data.d * count : null;
    const across = logAxis(points.map((row) => chart.x(rows[row])).concat(exact ?? []));
    const down = recallAxis(points);
    const text = (x, y, words, anchor) => svg("text", { x, y, "text-anchor": anchor }, words);
    const parts = [];
    for (const tick of down.ticks) {
      const y = down.at(tick);
      parts.push(svg("line", { class: "axis", x1: LEFT, x2: width - RIGHT, y1: y, y2: y }), text(LEFT - 5, y + 4, tick.toFixed(2), "end"));
    }
    for (const tick of logTicks(across, chart.doubled)) {
      const x = across.at(tick);
      parts.push(svg("line", { class: "axis", x1: x, x2: x, y1: TOP, y2: HEIGHT - BOTTOM }), text(x, HEIGHT - BOTTOM + 14, chart.tick(tick), "middle"));
    }
    parts.push(text((LEFT + width - RIGHT) / 2, HEIGHT - 6, chart.axis || `memory of ${whole(count)} rows`, "middle"));
    if (exact !== null) {
      const x = across.at(exact);
      parts.push(svg("line", { class: "exact", x1: x, x2: x, y1: TOP, y2: HEIGHT - BOTTOM }), text(x - 4, HEIGHT - BOTTOM - 6, `float32: ${size(exact)}`, "end"));
    }
    chart.at = new Map();
    for (const [place, one] of [...series.entries()].reverse()) { // bebr comes first in the data, and so on top
      if (!shown.has(place)) continue;
      const xy = (row) => [across.at(chart.x(rows[row])), down.at(rows[row].recall)];
      const joined = one.peer && !chart.lines ? [] : one.line;
      const path = joined.map((row) => xy(row).map((value) => value.toFixed(1)).join(",")).join(" ");
      const group = svg("g", { class: "series", "data-series": place, style: colour(one) });
      if (joined.length > 1) group.append(svg("polyline", { class: curveClass(one), points: path }));
      for (const row of one.points) {
        const [x, y] = xy(row);
        chart.at.set(row, [x, y]);
        const spread = rows[row].recall_error;
        const point = svg("g", { class: "point", "data-row": row });
        if (chart.name === "bytes") point.append(svg("line", { class: "bar", x1: x, x2: x, y1: down.at(Math.min(1, rows[row].recall + spread)), y2: down.at(Math.max(0, rows[row].recall - spread)) }));
        const placed = svg("g", { transform: `translate(${x.toFixed(1)} ${y.toFixed(1)})` }, mark(one));
        if (row === data.recommended.row) placed.append(svg("circle", { class: "ring", r: 9 }));
        point.append(placed);
        group.append(point);
      }
      parts.push(group);
    }
    chart.picture.replaceChildren(...parts);
  }

  // One mark is pointed at, in all charts and in the table

  function point(chart, row) {
    for (const one of document.querySelectorAll(".hot")) one.classList.remove("hot");
    for (const other of CHARTS) other.tip.hidden = true;
    chart.row = row;
    if (row === null) return;
    for (const one of document.querySelectorAll(`[data-row="${row}"]`)) one.classList.add("hot");
    const figures = rows[row];
    const lines = [
      ["recall", `${figures.recall.toFixed(3)} ± ${figures.recall_error.toFixed(3)}`],
      ...(figures.predicted === null ? [] : [["planned", `${figures.predicted.toFixed(3)} ± ${figures.predicted_error.toFixed(3)}`]]),
      ["bytes", String(Number(figures.bytes_per_vector.toPrecision(6)))],
      ["memory", `${size(memory(figures))} for ${whole(count)} rows`],
      ["queries/s", whole(figures.queries_per_second)],
      ["one query", `${figures.latency_ms.toFixed(3)} ms`],
      ["encodes", `${whole(figures.encode_per_second)} vectors/s`],
      ["trains", `${figures.train_seconds.toFixed(1)} s`],
    ];
    if (figures.widths.length) lines.splice(2, 0, ["planes", figures.widths.join("+")]);
    const list = element("dl");
    for (const [name, words] of lines) list.append(element("dt", {}, name), element("dd", {}, words));
    chart.tip.replaceChildren(element("b", {}, data.names[row]), list);
    chart.tip.hidden = false;
    place(chart, ...chart.at.get(row));
  }

  /** Beside the mark where there is room, else under it. */
  function place(chart, x, y) {
    const [outer, inner, tip] = [chart.figure, chart.picture, chart.tip].map((one) => one.getBoundingClientRect());
    const scale = inner.width / chart.picture.viewBox.baseVal.width;
    const room = outer.width - tip.width;
    const [right, left] = [x * scale + 14, x * scale - 14 - tip.width];
    const beside = right <= room || left >= 0;
    chart.tip.style.left = `${right <= room ? right : Math.max(0, left)}px`;
    chart.tip.style.top = `${inner.top - outer.top + (beside ? Math.max(0, y * scale - tip.height / 2) : y * scale + 16)}px`;
  }

  function listen(chart) {
    const nearest = (event) => {
      const box = chart.picture.getBoundingClientRect();
      const scale = box.width / chart.picture.viewBox.baseVal.width;
      let [best, least] = [null, NEAR];
      for (const [row, [x, y]] of chart.at) {
        const distance = Math.hypot(event.clientX - box.left - x * scale, event.clientY - box.top - y * scale);
        if (distance < least) [best, least] = [row, distance];
      }
      return best;
    };
    chart.picture.addEventListener("pointermove", (event) => event.pointerType === "mouse" && point(chart, nearest(event)));
    chart.picture.addEventListener("pointerleave", (event) => event.pointerType === "mouse" && point(chart, null));
    chart.picture.addEventListener("click", (event) => point(chart, nearest(event)));
    chart.picture.addEventListener("blur", () => point(chart, null));
    chart.picture.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (event.key === "Escape") point(chart, null);
      if (!step || !chart.at.size) return;
      event.preventDefault();
      const order = [...chart.at.keys()].sort((a, b) => chart.at.get(a)[0] - chart.at.get(b)[0] || a - b);
      const place = order.indexOf(chart.row ?? null);
      point(chart, order[place < 0 ? (step > 0 ? 0 : order.length - 1) : (place + step + order.length) % order.length]);
    });
  }

  // The page

  function drawAll() {
    for (const chart of CHARTS) {
      draw(chart);
      point(chart, null);
    }
  }

  function showMemory() {
    for (const cell of document.querySelectorAll("td[data-memory]")) cell.textContent = size(memory(rows[cell.dataset.memory]));
    const chosen = rows[data.recommended.row];
    const plain = data.d ? `, where float32 takes ${size(4 * data.d * count)}` : "";
    find("cost").textContent = `${whole(count)} rows take ${size(memory(chosen))}${plain}.`;
  }

  const legend = find("legend");
  const boxes = series.map((one, place) => {
    const box = element("input", { type: "checkbox", "data-series": place });
    box.checked = true;
    box.addEventListener("change", () => {
      if (box.checked) shown.add(place);
      else shown.delete(place);
      drawAll();
    });
    const swatch = svg("svg", { viewBox: "-17 -7 34 14", "aria-hidden": "true", style: colour(one) }, svg("line", { class: curveClass(one), x1: -17, x2: 17, y1: 0, y2: 0 }), mark(one));
    legend.append(element("label", {}, box, swatch, one.label));
    return box;
  });
  const only = (wanted) => {
    shown.clear();
    for (const [place, one] of series.entries()) {
      boxes[place].checked = wanted(one);
      if (wanted(one)) shown.add(place);
    }
    drawAll();
  };
  const choices = [["all", () => true], ["best", (one) => one.lead || one.peer], ["bebr", (one) => !one.peer], ["none", () => false]];
  legend.append(element("span", { class: "buttons" }, ...choices.map(([name, wanted]) => element("button", { type: "button", "data-show": name, click: () => only(wanted) }, name))));

  const input = find("rows");
  input.value = whole(count);
  input.addEventListener("input", () => {
    const found = /^(\d+(?:\.\d+)?(?:e\d+)?)([kmg]?)$/i.exec(input.value.replace(/[\s,_']/g, ""));
    const value = found ? Number(found[1]) * { "": 1, k: 1e3, m: 1e6, g: 1e9 }[found[2].toLowerCase()] : 0;
    const fine = value >= 1 && value <= 1e15;
    input.setAttribute("aria-invalid", String(!fine));
    if (!fine) return;
    count = Math.round(value);
    drawAll();
    showMemory();
  });
  for (const line of document.querySelectorAll("tr[data-row]")) {
    const row = Number(line.dataset.row);
    line.addEventListener("pointerenter", () => {
      for (const one of document.querySelectorAll(".hot")) one.classList.remove("hot");
      for (const one of document.querySelectorAll(`[data-row="${row}"]`)) one.classList.add("hot");
    });
  }
  let drawn = window.innerWidth;
  window.addEventListener("resize", () => {
    if (window.innerWidth === drawn) return; // a phone's address bar comes and goes
    drawn = window.innerWidth;
    drawAll();
  });
  showMemory();
  drawAll();
})();
