"""Routes of searches: by vectors, by words, by rows; and what they find of all that there is to find."""

from __future__ import annotations

from typing import Any

from bebr.arrays import as_vectors
from bebr.collection.checks import check_effort, check_sample
from bebr.collection.keys import Named
from bebr.collection.request import check_search, check_search_ids
from bebr.http.fields import field
from bebr.http.points import FILTER
from bebr.http.routes import Asked, Route
from bebr.http.values import ids_of, search_text, vectors_of, vectors_text
from bebr.index import check_k
from bebr.index.raw import check_rescore
from bebr.serve import convert
from bebr.serve.messages import search_message
from bebr.v1 import bebr_pb2 as pb

_SHARED = (
    *("oversampling", "exact", "filter", "radius", "offset", "group_by", "group_size", "with_payloads"),
    *("rescore", "nprobe", "ef_search"),
)


async def _search(asked: Asked) -> Any:
    served, digest = await asked.served(), asked["binarizer"]
    model = None if digest is None else await asked.registry.query_model(served, digest)
    dim = (model or served.collection.binarizer).query_dim

    def request() -> pb.SearchRequest:
        made = check_search(
            *(vectors_of(asked["q"], "q"), asked["k"], dim),
            **_shared(asked),
            query=asked["query"],
            binarizer=None,
            text=asked["text"],
            fusion=asked["fusion"],
        )
        message = search_message(asked.name, made)
        if made.queries is not None:
            assert not isinstance(made.queries, Named)
            message.queries.CopyFrom(convert.vectors_to_message(made.queries))
        message.text.extend(made.texts or [])
        if digest is not None:
            message.model = digest
        return message

    return await _found(asked, await asked.call("Points/Search", request))


async def _search_ids(asked: Asked) -> Any:
    def request() -> pb.SearchRequest:
        made = check_search_ids(ids_of(asked["ids"], "ids"), asked["k"], **_shared(asked))
        message, rows = search_message(asked.name, made), made.queries
        assert isinstance(rows, Named)
        message.by_ids = convert.ids_to_bytes(rows.numbers)
        message.by_keys.extend(rows.keys or [])
        return message

    return await _found(asked, await asked.call("Points/Search", request))


def _shared(asked: Asked) -> dict[str, Any]:
    allow = asked["allow"]
    return {"allow": None if allow is None else ids_of(allow, "allow"), **{name: asked[name] for name in _SHARED}}


async def _found(asked: Asked, reply: pb.SearchResponse) -> bytes:
    size = None if asked["group_by"] is None else asked["group_size"]
    return await asked.write(reply, lambda: search_text(reply, asked["k"], size, asked["with_payloads"]))


async def _measure_recall(asked: Asked) -> Any:
    dim = (await asked.served()).collection.binarizer.query_dim
    sample, k = asked["sample"], asked["k"]

    def request() -> pb.MeasureRecallRequest:
        check_rescore(asked["rescore"], check_k(k))
        effort = {name: asked[name] for name in ("nprobe", "ef_search")}
        check_effort(**effort, exact=False)
        message = pb.MeasureRecallRequest(collection=asked.name, k=k, rescore=asked["rescore"], **effort)
        if isinstance(sample, int):
            message.rows = check_sample(sample)
        else:
            queries = as_vectors(vectors_of(sample, "sample"), "sample", dim, allow_empty=False)
            message.queries.CopyFrom(convert.vectors_to_message(queries))
        return message

    reply = await asked.call("Admin/MeasureRecall", request)
    return {**{name: getattr(reply, name) for name in ("recall", "low", "high", "queries")}, "k": k}


async def _producer(asked: Asked) -> Any:
    reply = await asked.call("Producer/Describe", pb.DescribeProducerRequest)
    about = {"name": reply.name, "version": reply.version, "dim": reply.dimension}
    return {**about, "metric": convert.METRIC_NAMES[reply.metric], "modality": reply.modality}


async def _embed(asked: Asked) -> Any:
    def request() -> pb.EmbedRequest:
        for row, text in enumerate(asked["items"]):
            if not isinstance(text, str):
                raise ValueError(f"items[{row}] is {type(text).__name__}: want a text; pictures go over gRPC")
        return pb.EmbedRequest(texts=asked["items"])

    reply = await asked.call("Producer/Embed", request)

    def text() -> bytes:
        return f'{{"vectors":{vectors_text(convert.vectors_from_message(reply.vectors, "vectors"))}}}'.encode()

    return await asked.write(reply, text)


_ONE = "/v1/collections/{name}"
_BOTH = {
    "k": field("integer", "How many rows, or groups, of each query.", 10),
    "oversampling": field("integer", "Candidates that are scored by whole codes, this many times k."),
    "exact": field("boolean", "Score every row that could still win.", False),
    "nprobe": field("integer", "Lists looked at in files that have some, in place of what was measured."),
    "ef_search": field("integer", "Candidates of a walk in files that are graphs, likewise."),
    "allow": field("array", "Only these ids may be found."),
    "filter": FILTER,
    "radius": field("number", "Only rows at least this similar (l2: at most this squared distance)."),
    "offset": field("integer", "The first so many of each query are left out.", 0),
    "group_by": field("string", "Hits come in k groups of rows with one value in this field."),
    "group_size": field("integer", "Rows of a group.", 1),
    "with_payloads": field("boolean", "Whether hits come with their payloads.", False),
    "rescore": field("integer", "How many of the best get exact scores, where vectors are kept; 0: none."),
}
_HITS = {
    "results": [{"hits": [{"id": 1, "score": 0.93, "payload": {"title": "…"}}]}],
    "elapsed_us": 210,
    "batch_queries": 1,
}
ROUTES = (
    Route(
        *("POST", f"{_ONE}/search", "Points/Search"),
        *("The k best rows for each query: vectors, words, or both.", _search, _HITS),
        {
            "q": field("array string", "A vector, or a list of them: numbers, or base64 of float32."),
            "text": field("string array", "Words to search for in the collection's text fields, one text a query."),
            **_BOTH,
            "query": field("string", "How a query meets the codes.", "float", choices=("float", "code")),
            "binarizer": field("string", "Digest of the model that the queries are for, if not the collection's."),
            "fusion": field("string", "How ranks by words and by vectors are joined.", "rrf", choices=("rrf",)),
        },
    ),
    Route(
        *("POST", f"{_ONE}/search_ids", "Points/Search"),
        *("The k rows most like each of these rows, itself left out.", _search_ids, _HITS),
        {"ids": field("array", "Rows of the collection.", required=True), **_BOTH},
    ),
    Route(
        *("POST", f"{_ONE}/measure_recall", "Admin/MeasureRecall"),
        *("The share of the k best rows that searches find, against exact scores of kept vectors.", _measure_recall),
        {"recall": 0.97, "low": 0.96, "high": 0.98, "queries": 1000, "k": 10},
        {
            "sample": field("integer array", "So many rows as queries, or vectors.", 1000),
            "k": field("integer", "How many rows of each.", 10),
            **{name: field("integer", "As of a search.") for name in ("rescore", "nprobe", "ef_search")},
        },
    ),
    Route(
        *("GET", "/v1/producer", "Producer/Describe"),
        *("What the server embeds with; 404 where it has none.", _producer),
        {"name": "minilm", "version": "1", "dim": 384, "metric": "cosine", "modality": "text"},
    ),
    Route(
        *("POST", "/v1/embed", "Producer/Embed"),
        *("Vectors of texts, by the server's producer.", _embed, {"vectors": [[0.1, 0.2]]}),
        {"items": field("array", "Texts.", required=True)},
    ),
)
