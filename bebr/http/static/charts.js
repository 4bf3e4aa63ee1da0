// Charts as SVG, drawn from figures.

import { element, legend, svg } from "./elements.js";

const WIDTH = 420;
const HEIGHT = 190;
const LEFT = 46;
const BOTTOM = 22;
const TOP = 10;

const frame = (label) => svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": label });
const across = (share) => LEFT + share * (WIDTH - LEFT - 10);
const down = (share) => TOP + share * (HEIGHT - TOP - BOTTOM);
const text = (x, y, words, anchor = "end") => svg("text", { x, y, "text-anchor": anchor }, words);
const ms = (value) => `${Number(value.toPrecision(3))} ms`;
const rule = (y) => svg("line", { class: "axis", x1: LEFT, x2: WIDTH - 10, y1: y, y2: y });

/** p50 and p99 of the slots of a method over the last minutes, on a logarithmic axis; bars: its calls. */
export function latencyChart(series, method) {
  const slots = series.methods[method] ?? [];
  if (!slots.length) return element("p", { class: "quiet" }, "No calls in the last ten minutes.");
  const span = series.seconds * (series.slots - 1);
  const x = (slot) => across(1 - (series.time - slot.time) / span);
  const values = slots.flatMap((slot) => [slot.p50_ms, slot.p99_ms]);
  const low = 10 ** Math.floor(Math.log10(Math.min(...values)));
  const high = Math.max(low * 10, 10 ** Math.ceil(Math.log10(Math.max(...values))));
  const y = (value) => down(1 - Math.log(value / low) / Math.log(high / low));
  const most = Math.max(...slots.map((slot) => slot.calls));
  const last = slots[slots.length - 1];
  const made = frame(`Latency of ${method}: p50 ${ms(last.p50_ms)}, p99 ${ms(last.p99_ms)}`);
  for (const slot of slots) {
    const height = (0.35 * (HEIGHT - TOP - BOTTOM) * slot.calls) / most;
    made.append(svg("rect", { class: "calls", x: x(slot) - 2, width: 4, y: down(1) - height, height }));
  }
  for (let value = low; value <= high * 1.001; value *= 10) {
    made.append(rule(y(value)), text(LEFT - 5, y(value) + 4, `${Number(value.toPrecision(1))} ms`));
  }
  for (const name of ["p99", "p50"]) {
    const path = slots.map((slot) => `${x(slot).toFixed(1)},${y(slot[`${name}_ms`]).toFixed(1)}`);
    made.append(svg("polyline", { class: `line ${name}`, points: path.join(" ") }));
    const [cx, cy] = path[path.length - 1].split(",");
    made.append(svg("line", { class: `dot ${name}`, x1: cx, x2: cx, y1: cy, y2: cy }));
  }
  const minutes = Math.round(span / 60);
  made.append(text(LEFT, HEIGHT - 5, `${minutes} minutes ago`, "start"), text(WIDTH - 10, HEIGHT - 5, "now"));
  const rate = (last.calls / series.seconds).toFixed(1);
  const words = [["p50", `p50 ${ms(last.p50_ms)}`], ["p99", `p99 ${ms(last.p99_ms)}`], ["", `${rate} calls/s`]];
  return element("div", {}, made, legend(words));
}

/** Measurements of recall of one collection, the newest last, each with its interval. */
export function recallChart(measured) {
  const low = Math.min(0.9, Math.floor(Math.min(...measured.map((one) => one.low)) * 20) / 20);
  const y = (value) => down(1 - (value - low) / (1 - low));
  const last = measured[measured.length - 1];
  const made = frame(`Recall at ${last.k}: ${last.recall.toFixed(3)}`);
  for (let step = 0; step <= 4; step += 1) {
    const value = low + ((1 - low) * step) / 4;
    made.append(rule(y(value)), text(LEFT - 5, y(value) + 4, value.toFixed(3)));
  }
  measured.forEach((one, place) => {
    const x = across((place + 0.5) / Math.max(measured.length, 6));
    made.append(svg("line", { class: "line p50", x1: x, x2: x, y1: y(one.low), y2: y(one.high) }));
    made.append(svg("line", { class: "dot p50", x1: x, x2: x, y1: y(one.recall), y2: y(one.recall) }));
    made.append(text(x, HEIGHT - 5, one.at, "middle"));
  });
  return made;
}

/** How many rows are in files of each kind, as a bar. */
export function kindsBar(kinds) {
  const total = kinds.reduce((sum, [, rows]) => sum + rows, 0);
  const bar = svg("svg", { class: "kinds", viewBox: "0 0 100 4", preserveAspectRatio: "none", "aria-hidden": "true" });
  let start = 0;
  for (const [kind, rows] of kinds) {
    const width = (100 * rows) / total;
    bar.append(svg("rect", { class: kind, x: start, width, y: 0, height: 4 }));
    start += width;
  }
  return bar;
}
