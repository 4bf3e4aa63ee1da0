// The box that asks, and its hits with their payloads.

import { call, collectionPath, Failure, idJson, readId, readVector, shown, shownId } from "./api.js";
import { element, find } from "./elements.js";

const LABELS = {
  id: "Id of a row: a number, text or a UUID",
  vector: "Vector: numbers with commas between",
  words: "Words",
};

let chosen = null; // the figures of the collection that is asked
let producer = null;

/** `stats` of the collection to ask; `embedder`: what turns words into vectors, or null. */
export function askOf(stats, embedder) {
  if (chosen?.name !== stats?.name) clear();
  chosen = stats;
  producer = embedder;
  const words = document.querySelector('input[name="by"][value="words"]');
  words.disabled = !(chosen && (embeds() || chosen.text.length));
  words.parentElement.title = words.disabled ? "Needs text fields, or a server with a producer of as many dimensions" : "";
  if (words.disabled && words.checked) choose("id");
}

export function start() {
  find("query").addEventListener("submit", (event) => {
    event.preventDefault();
    ask();
  });
  for (const one of document.querySelectorAll('input[name="by"]')) one.addEventListener("change", () => choose(one.value));
}

const embeds = () => producer !== null && producer.modality !== "image" && producer.dim === chosen.model.query_dim;

function choose(by) {
  document.querySelector(`input[name="by"][value="${by}"]`).checked = true;
  find("asked-label").textContent = LABELS[by];
}

function clear() {
  find("hits").replaceChildren();
  find("told").textContent = "";
}

async function ask() {
  const told = find("told");
  if (!chosen) {
    told.textContent = "Choose a collection first.";
    return;
  }
  const name = chosen.name;
  told.textContent = "Searching …";
  find("hits").replaceChildren();
  try {
    const begun = performance.now();
    const [path, body] = await asked();
    const answer = await call("POST", collectionPath(name, path), body);
    if (name !== chosen?.name) return; // another one was chosen meanwhile
    const hits = answer.results[0]?.hits ?? [];
    const took = (performance.now() - begun).toFixed(0);
    told.textContent = `${hits.length} hits in ${took} ms, of these ${answer.elapsed_us / 1000} ms in the server.`;
    find("hits").replaceChildren(...hits.map(shownHit));
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    told.textContent = error.message;
  }
}

/** Path and body of the search that the form says. */
async function asked() {
  const by = document.querySelector('input[name="by"]:checked').value;
  const text = find("asked").value;
  const options = { k: Number(find("k").value), with_payloads: true };
  const filter = find("filter").value.trim();
  if (filter) {
    try {
      options.filter = JSON.parse(filter);
    } catch {
      throw new Failure(0, "", 'A filter is JSON, such as {"lang": "de"}.');
    }
  }
  if (!text.trim()) throw new Failure(0, "", `${LABELS[by]}: there is nothing to search for.`);
  if (by === "id") {
    let id;
    try {
      id = readId(text);
    } catch {
      throw new Failure(0, "", "Text in quotation marks is to be JSON.");
    }
    return ["/search_ids", `{"ids":[${id}],${JSON.stringify(options).slice(1)}`];
  }
  if (by === "vector") return ["/search", { ...options, q: readVector(text) }];
  if (chosen.text.length) options.text = text;
  if (embeds()) options.q = (await call("POST", "/v1/embed", { items: [text] })).vectors;
  return ["/search", options];
}

function shownHit(hit) {
  const like = () => {
    choose("id");
    const text = shownId(hit.id);
    find("asked").value = typeof hit.id === "string" && readId(text) !== idJson(hit.id) ? JSON.stringify(hit.id) : text;
    ask();
  };
  const line = element(
    "div",
    { class: "hit" },
    element("b", {}, shownId(hit.id)),
    element("span", { class: "score" }, hit.score.toFixed(4)),
    element("button", { type: "button", class: "plain", click: like }, "More like this"),
  );
  if (hit.payload === null) return element("li", {}, line);
  const payload = element("dl", { class: "payload" });
  for (const [name, value] of Object.entries(hit.payload)) {
    payload.append(element("dt", {}, name), element("dd", {}, shown(value)));
  }
  return element("li", {}, line, payload);
}
