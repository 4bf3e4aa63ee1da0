// Calls of the server, with the key of this tab, and JSON whose whole numbers stay whole beyond 2^53.

const KEY = "bebr-key";

export class Failure extends Error {
  constructor(status, code, message) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

export function useKey(key) {
  sessionStorage.setItem(KEY, key);
}

/** The answer to a call; `body`: JSON as text, or an object. */
export async function call(verb, path, body) {
  const key = sessionStorage.getItem(KEY);
  const headers = key ? { authorization: `Bearer ${key}` } : {};
  const request = { method: verb, headers };
  if (body !== undefined) {
    headers["content-type"] = "application/json";
    request.body = typeof body === "string" ? body : JSON.stringify(body);
  }
  let reply;
  try {
    reply = await fetch(path, request);
  } catch {
    throw new Failure(0, "UNAVAILABLE", "The server does not answer.");
  }
  const text = await reply.text();
  let answer = {};
  try {
    answer = parse(text);
  } catch {
    throw new Failure(reply.status, "INTERNAL", `The server answered ${reply.status} without JSON.`);
  }
  if (!reply.ok) {
    const error = answer.error ?? {};
    throw new Failure(reply.status, error.code, error.message ?? `The server answered ${reply.status}.`);
  }
  return answer;
}

export const collectionPath = (name, rest = "") => `/v1/collections/${encodeURIComponent(name)}${rest}`;

/** JSON as values, where browsers show a reviver its source with BigInt for what is no safe integer. */
export function parse(text) {
  return JSON.parse(text, (_, value, context) =>
    typeof value === "number" && !Number.isSafeInteger(value) && /^-?\d+$/.test(context?.source ?? "")
      ? BigInt(context.source)
      : value,
  );
}

/** A value of JSON for people: text as it is, the rest as JSON. */
export function shown(value) {
  if (typeof value === "string") return value;
  return JSON.stringify(value, (_, one) => (typeof one === "bigint" ? String(one) : one));
}

/** An id for people; a UUID without its wrapping. */
export const shownId = (id) => (typeof id === "object" && id !== null ? id.uuid : String(id));

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

/** An id of an answer as JSON. */
export function idJson(id) {
  return typeof id === "bigint" || typeof id === "number" ? String(id) : JSON.stringify(id);
}

/** What somebody wrote as an id, as JSON: digits are a number, and what is in quotation marks is text. */
export function readId(text) {
  const asked = text.trim();
  if (/^\d+$/.test(asked)) return asked.replace(/^0+(?=\d)/, "");
  if (UUID.test(asked)) return JSON.stringify({ uuid: asked });
  if (/^".*"$/s.test(asked)) return JSON.stringify(JSON.parse(asked));
  return JSON.stringify(asked);
}

/** What somebody wrote as a vector: numbers with commas or spaces between, in brackets or not. */
export function readVector(text) {
  const words = text.replace(/[[\],;]/g, " ").trim().split(/\s+/);
  const numbers = words.map(Number);
  if (words[0] === "" || !numbers.every(Number.isFinite)) {
    throw new Failure(0, "", "A vector is a list of numbers, such as 0.1, -0.2, 0.3.");
  }
  return numbers;
}
