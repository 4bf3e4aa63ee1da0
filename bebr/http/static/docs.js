// The operations of openapi.json, to be read.

import { call } from "./api.js";
import { element, find } from "./elements.js";

const json = (value) => element("pre", {}, JSON.stringify(value, null, 1));
const of = (content) => content?.content?.["application/json"] ?? {};

function fields(schema) {
  const list = element("dl", { class: "fields" });
  for (const [name, one] of Object.entries(schema.properties ?? {})) {
    const kinds = [one.type].flat().join(" or ");
    const more = schema.required?.includes(name) ? ", required" : "default" in one ? `, default ${JSON.stringify(one.default)}` : "";
    const choices = one.enum ? ` One of ${one.enum.map((value) => JSON.stringify(value)).join(", ")}.` : "";
    list.append(
      element("dt", {}, element("code", {}, name), ` ${kinds}${more}`),
      element("dd", { class: "quiet" }, one.description + choices),
    );
  }
  return list;
}

function operation(path, verb, one) {
  const made = element(
    "details",
    { class: "operation panel" },
    element("summary", {}, element("span", { class: "verb" }, verb.toUpperCase()), element("code", {}, path), ` ${one.summary}`),
    element("p", { class: "quiet" }, one.description),
  );
  const schema = of(one.requestBody).schema;
  if (schema) made.append(fields(schema));
  const example = of(one.responses["200"]).example;
  if (example !== undefined) made.append(element("p", {}, "Answer, as an example:"), json(example));
  return made;
}

const described = await call("GET", "/openapi.json");
for (const [path, verbs] of Object.entries(described.paths)) {
  for (const [verb, one] of Object.entries(verbs)) find("operations").append(operation(path, verb, one));
}
