// A client made of the contract alone: node search.mjs localhost:7777 proto/bebr/v1/bebr.proto
// npm install @grpc/grpc-js @grpc/proto-loader
import grpc from "@grpc/grpc-js";
import loader from "@grpc/proto-loader";

const [target, proto, token] = process.argv.slice(2);
const { v1 } = grpc.loadPackageDefinition(loader.loadSync(proto, { keepCase: true })).bebr;
const credentials = grpc.credentials.createInsecure(); // createSsl(readFileSync("ca.pem")) for a server with TLS
const collections = new v1.Collections(target, credentials);
const points = new v1.Points(target, credentials);
const metadata = new grpc.Metadata();
if (token) metadata.set("authorization", `Bearer ${token}`);

// The time limit of a call is its deadline. A failed one has a status `code`, and `details` that say what was wrong.
const call = (service, method, request) =>
  new Promise((resolve, reject) =>
    service[method](request, metadata, { deadline: Date.now() + 10_000 }, (error, reply) =>
      error ? reject(error) : resolve(reply),
    ),
  );

// Columns are little-endian bytes.
const bytes = (column) => Buffer.from(column.buffer, column.byteOffset, column.byteLength);
const column = (Kind, data) => new Kind(data.buffer.slice(data.byteOffset, data.byteOffset + data.length));

const [rows, dimension] = [1000, 64];
const x = Float32Array.from({ length: rows * dimension }, () => Math.random() - 0.5);
const ids = BigInt64Array.from({ length: rows }, (_, i) => BigInt(i));
const payloads = Array.from({ length: rows }, (_, i) => JSON.stringify({ title: `row ${i}` }));

await call(collections, "Create", { name: "from-node", dim: dimension });
const vectors = { f32: bytes(x), dimension, count: rows };
await call(points, "Upsert", { collection: "from-node", ids: bytes(ids), vectors, payloads });

const queries = { f32: bytes(x.subarray(7 * dimension, 9 * dimension)), dimension, count: 2 }; // rows 7 and 8
const found = await call(points, "Search", { collection: "from-node", queries, k: 3, with_payloads: true });
const best = column(BigInt64Array, found.ids); // the answers of query 0, then those of query 1, as counts says
const scores = column(Float32Array, found.scores);
let at = 0;
for (const count of found.counts) {
  const answers = Array.from({ length: count }, (_, i) => `${best[at + i]} ${scores[at + i].toFixed(3)}`);
  console.log(answers.join(", "), found.payloads[at]);
  at += count;
}
