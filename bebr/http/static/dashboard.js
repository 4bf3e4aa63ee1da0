// What the server holds and how it does, asked anew every ten seconds while somebody looks.

import { call, collectionPath, Failure, useKey } from "./api.js";
import { kindsBar, latencyChart, recallChart } from "./charts.js";
import { bytes, element, figures, find, legend, whole } from "./elements.js";
import { askOf, start } from "./query.js";

const EVERY = 10_000;
const PAGE = 12;
const SAMPLE = 300;

const state = { names: [], stats: new Map(), most: PAGE, chosen: null, producer: null, series: null };
const measured = new Map(); // of each collection: measurements of recall in this tab

const choice = () => state.stats.get(state.chosen);

async function refresh() {
  try {
    const [info, listed, series] = await Promise.all([
      call("GET", "/v1/info"),
      call("GET", "/v1/collections"),
      call("GET", "/v1/latency"),
    ]);
    const hours = (info.uptime / 3600).toFixed(1);
    find("about").textContent = `${info.version}, ${info.isa}, ${info.threads} threads, up ${hours} h`;
    state.names = listed.collections;
    state.series = series;
    state.producer = await call("GET", "/v1/producer").catch(() => null);
    await look();
    say("");
    find("key-form").hidden = true;
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    find("key-form").hidden = error.status !== 401;
    say(error.message);
  }
  drawLatency();
}

function say(words) {
  find("trouble").textContent = words;
  find("trouble").hidden = !words;
}

/** Figures of the collections that are shown. */
async function look() {
  const wanted = find("name-filter").value;
  const named = state.names.filter((name) => name.includes(wanted));
  const seen = named.slice(0, state.most);
  const found = await Promise.all(
    seen.map((name) => call("GET", collectionPath(name)).catch((error) => ({ name, failed: error.message }))),
  );
  for (const stats of found) state.stats.set(stats.name, stats);
  find("more").hidden = named.length <= seen.length;
  find("collections").replaceChildren(...found.map(card));
  if (!found.length) find("collections").append(element("p", { class: "quiet" }, "There are no collections yet."));
  const first = found.find((stats) => !stats.failed);
  if (!state.names.includes(state.chosen)) state.chosen = first?.name ?? null;
  choose(state.chosen);
}

function card(stats) {
  const title = element("h3", {}, stats.name);
  const attributes = { type: "button", class: "card", "data-name": stats.name, click: () => choose(stats.name) };
  if (stats.failed) {
    return element("button", { ...attributes, disabled: "" }, title, element("p", { class: "quiet" }, stats.failed));
  }
  const kinds = [...Object.entries(stats.rows_by_kind), ["tail", stats.tail_rows]].filter(([, rows]) => rows > 0);
  const made = element(
    "button",
    attributes,
    title,
    figures([
      ["rows", whole(stats.rows)],
      ["bits a dimension", String(Number(stats.model.bits_per_dimension.toFixed(2)))],
      ["bytes a vector", whole(stats.bytes_per_vector)],
      ["dimensions", `${stats.model.input_dim}, ${stats.model.metric}`],
      ["files", whole(stats.segments)],
      ["on disk", bytes(stats.bytes_on_disk)],
    ]),
  );
  if (kinds.length) made.append(kindsBar(kinds), legend(kinds.map(([kind, rows]) => [kind, `${kind} ${whole(rows)}`])));
  if (stats.target) made.append(element("p", { class: "quiet" }, `Migrating: ${whole(stats.rows_behind)} rows wait.`));
  return made;
}

function choose(name) {
  state.chosen = name;
  for (const one of document.querySelectorAll(".card")) one.setAttribute("aria-pressed", String(one.dataset.name === name));
  for (const one of document.querySelectorAll(".chosen")) one.textContent = name === null ? "" : `in ${name}`;
  askOf(choice() ?? null, state.producer);
  drawRecall();
}

function drawLatency() {
  if (!state.series) return;
  const select = find("method");
  const before = select.value || "Points/Search";
  const methods = [...new Set(["Points/Search", ...Object.keys(state.series.methods).sort()])];
  select.replaceChildren(...methods.map((name) => element("option", {}, name)));
  select.value = methods.includes(before) ? before : methods[0];
  find("latency").replaceChildren(latencyChart(state.series, select.value));
}

function drawRecall() {
  const stats = choice();
  const possible = Boolean(stats && stats.kept_bytes > 0 && stats.rows > 0);
  find("measure").disabled = !possible;
  const found = measured.get(state.chosen) ?? [];
  find("recall").replaceChildren(...(found.length ? [recallChart(found)] : []));
  if (!stats) find("recall-told").textContent = "";
  else if (!possible) {
    find("recall-told").textContent = stats.rows
      ? "It keeps no vectors beside its codes, so there is nothing to measure against (keep=\"float16\")."
      : "It has no rows yet.";
  } else if (found.length) {
    const { recall, low, high, queries, k } = found[found.length - 1];
    find("recall-told").textContent =
      `${recall.toFixed(3)} of the ${k} best rows are found, between ${low.toFixed(3)} and ${high.toFixed(3)} (95 %), by ${queries} queries.`;
  } else find("recall-told").textContent = `Searches with ${SAMPLE} of its rows, and compares with exact scores.`;
}

async function measure() {
  const name = state.chosen;
  find("measure").disabled = true;
  find("recall-told").textContent = "Measuring …";
  try {
    const found = await call("POST", collectionPath(name, "/measure_recall"), { sample: SAMPLE, k: 10 });
    const at = new Date().toLocaleTimeString("en", { hour: "2-digit", minute: "2-digit", hour12: false });
    measured.set(name, [...(measured.get(name) ?? []), { ...found, at }].slice(-8));
    drawRecall();
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    drawRecall();
    find("recall-told").textContent = error.message;
  }
}

find("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  useKey(find("key").value.trim());
  find("key").value = "";
  refresh();
});
find("more").addEventListener("click", () => {
  state.most += PAGE;
  refresh();
});
find("name-filter").addEventListener("change", refresh);
find("method").addEventListener("change", drawLatency);
find("measure").addEventListener("click", measure);
start();
refresh();
setInterval(() => document.hidden || refresh(), EVERY);
