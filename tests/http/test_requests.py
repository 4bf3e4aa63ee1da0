"""What a request may be, and what one that is wrong is told: one form of JSON, with a status that says whose fault."""

from __future__ import annotations

import base64
import http.client
import json
import socket
import time
from urllib.parse import urlsplit

import numpy as np
import pytest

import bebr
from bebr.http.app import routes
from tests.http_client import Http

DOCS = "/v1/collections/docs"
JSON = {"content-type": "application/json"}


@pytest.fixture(scope="module", autouse=True)
def docs(web):
    """Three rows."""
    http = Http(web.http)
    made = http.create_collection("docs", dim=3)
    made.upsert([1, 2, 3], np.eye(3), [{"n": 1}, {"n": 2}, None])
    return made


def error_of(reply) -> tuple[int, str, str]:
    status, headers, body = reply
    assert headers["content-type"] == "application/json"
    found = json.loads(body)
    assert set(found) == {"error"} and set(found["error"]) == {"code", "message"}
    return status, found["error"]["code"], found["error"]["message"]


WRONG = {
    "no JSON": (b"{", "the body is not JSON"),
    "no text": (b"\xff\xfe{}", "the body is not JSON"),
    "no object": (b"[1]", "the body is [1]: want a JSON object"),
    "deep": (b"[" * 100_000, "the body is not JSON"),
    "deep in a field": (b'{"q": ' + b"[" * 900 + b"]" * 900 + b"}", "q"),
    "a number of many digits": (b'{"k": ' + b"9" * 5000 + b"}", "the body is not JSON"),
    "unknown field": (
        b'{"q": [0, 0, 1], "with_payload": true}',
        "'with_payload' is no field of this call: did you mean",
    ),
    "unknown, and like none": (b'{"zzz": 1}', "'zzz' is no field of this call: want q, text, k"),
    "k": (b'{"q": [0, 0, 1], "k": "ten"}', "k is 'ten': want an integer"),
    "k as a bool": (b'{"q": [0, 0, 1], "k": true}', "k is True: want an integer"),
    "k too large for the wire": (b'{"q": [0, 0, 1], "k": 1000000000000}', "k"),
    "exact": (b'{"q": [0, 0, 1], "exact": 1}', "exact is 1: want a boolean"),
    "nan": (b'{"q": [NaN, 0, 1]}', "q[0, 0] is nan: want finite numbers"),
    "infinity": (b'{"q": [[0, 1e999, 1]]}', "q[0, 1] is inf"),
    "nan as a radius": (b'{"q": [0, 0, 1], "radius": NaN}', "radius is nan"),
    "rows of different lengths": (b'{"q": [[1, 2, 3], [1, 2]]}', "q has rows of 2 and of 3 numbers"),
    "a row that is none": (b'{"q": [[1, 2, 3], 5]}', "q[1] is 5: want a vector"),
    "dimensions": (b'{"q": [1, 2]}', "q has shape (1, 2): want (n, 3)"),
    "objects": (b'{"q": [{}, {}, {}]}', "q has dtype object"),
    "no base64": (b'{"q": ["*"]}', "q[0] is text, but no base64 of float32"),
    "half a float": (b'{"q": ["AAA="]}', "q[0] has 2 bytes in base64"),
    "nothing to search for": (b"{}", "q is None, and so is text"),
    "filter": (b'{"q": [0, 0, 1], "filter": {"n": {"above": 1}}}', "filter.n has the operator 'above'"),
    "filter as text": (b'{"q": [0, 0, 1], "filter": "n > 1"}', "filter is 'n > 1': want a dict"),
    "ids that are objects": (b'{"q": [0, 0, 1], "allow": [{"id": 1}]}', "allow[0] is {'id': 1}: want a number"),
    "no UUID": (b'{"q": [0, 0, 1], "allow": [{"uuid": "1"}]}', "allow[0] is"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_body_is_told_what_is_wrong_with_it(http, case):
    body, words = WRONG[case]
    status, code, message = error_of(http.ask("POST", f"{DOCS}/search", body))
    assert (status, code) == (400, "INVALID_ARGUMENT") and words in message


def test_what_is_missing_is_said_with_what_it_is(http):
    status, _, message = error_of(http.ask("POST", f"{DOCS}/upsert", b'{"x": []}'))
    assert status == 400 and message.startswith("ids is missing: Numbers")


@pytest.mark.parametrize(
    "verb, path, status, code",
    [
        ("GET", "/v1/collections/none", 404, "NOT_FOUND"),
        ("POST", "/v1/collections/none/count", 404, "NOT_FOUND"),
        ("GET", "/v1/nothing", 404, "NOT_FOUND"),
        ("GET", "/static/../pyproject.toml", 404, "NOT_FOUND"),
        ("GET", "/static/%2e%2e%2f__init__.py", 404, "NOT_FOUND"),
        ("DELETE", "/v1/collections", 405, "METHOD_NOT_ALLOWED"),
        ("GET", f"{DOCS}/search", 405, "METHOD_NOT_ALLOWED"),
        ("GET", "/v1/models/0123", 404, "NOT_FOUND"),
        ("PUT", DOCS, 409, "ALREADY_EXISTS"),
        ("PUT", "/v1/collections/a%20b", 400, "INVALID_ARGUMENT"),
        ("GET", "/v1/producer", 404, "NOT_FOUND"),
        ("POST", "/v1/snapshots", 404, "NOT_FOUND"),
    ],
)
def test_each_mistake_has_its_status(http, verb, path, status, code):
    body = b'{"dim": 3}' if verb == "PUT" else b"{}" if verb == "POST" else None
    assert error_of(http.ask(verb, path, body))[:2] == (status, code)


def test_a_body_must_say_that_it_is_json(http):
    """A page of another site may send text without asking, but not JSON."""
    reply = http.ask("POST", f"{DOCS}/count", b"{}", {"content-type": "text/plain"})
    assert error_of(reply)[:2] == (415, "UNSUPPORTED_MEDIA_TYPE")


def test_a_large_body_is_refused_before_it_is_sent(web):
    connection = http.client.HTTPConnection(urlsplit(web.http).netloc, timeout=20)
    connection.putrequest("POST", f"{DOCS}/search")
    connection.putheader("content-type", "application/json")
    connection.putheader("content-length", str(1 << 40))
    connection.endheaders()
    reply = connection.getresponse()
    assert reply.status == 413 and b"TOO_LARGE" in reply.read()


def test_a_body_of_unknown_length_is_cut_off(web):
    """Memory for calls: 256 MiB, so a body may have 8 MiB."""
    connection = http.client.HTTPConnection(urlsplit(web.http).netloc, timeout=20)
    pieces = (bytes(1 << 20) for _ in range(64))
    try:
        connection.request("POST", f"{DOCS}/search", pieces, JSON, encode_chunked=True)
    except OSError:
        return  # it closes the connection in the middle of the body
    assert connection.getresponse().status == 413


def test_limits_are_those_of_grpc(http):
    status, code, message = error_of(http.ask("POST", f"{DOCS}/search", b'{"q": [0, 0, 1], "k": 100000}'))
    assert (status, code) == (429, "RESOURCE_EXHAUSTED") and "this server takes at most 65536" in message


def test_a_call_ends_when_its_time_is_over(http):
    rows = http.create_collection("timed", dim=64, retrain=False)
    x = np.random.default_rng(0).standard_normal((4000, 64)).astype(np.float32)
    rows.upsert(range(len(x)), x)
    body = json.dumps({"sample": len(x), "k": 10}).encode()
    begun = time.monotonic()
    reply = http.ask("POST", "/v1/collections/timed/measure_recall", body, {**JSON, "x-timeout-ms": "5"})
    assert error_of(reply)[:2] == (504, "DEADLINE_EXCEEDED") and time.monotonic() - begun < 30
    reply = http.ask("POST", f"{DOCS}/count", b"{}", {**JSON, "x-timeout-ms": "soon"})
    assert error_of(reply) == (400, "INVALID_ARGUMENT", "x-timeout-ms is 'soon': want a whole number of milliseconds")
    http.drop_collection("timed")


def test_request_ids_come_back(http):
    for given, kept in (("trace-7", True), ("two words", False), ("x" * 500, False)):
        _, headers, _ = http.ask("POST", f"{DOCS}/count", b"{}", {**JSON, "x-request-id": given})
        assert (headers["x-request-id"] == given) == kept and headers["x-request-id"]
    assert http.ask("GET", "/v1/collections/none")[1]["x-request-id"]


def test_every_reply_tells_browsers_to_be_strict(http):
    for path in ("/", "/docs", "/openapi.json", "/v1/info", "/v1/nothing", "/static/dashboard.js"):
        headers = http.ask("GET", path)[1]
        assert headers["content-security-policy"].startswith("default-src 'none'; script-src 'self';")
        assert headers["x-content-type-options"] == "nosniff"
        assert "access-control-allow-origin" not in headers


@pytest.mark.parametrize("headers", [{"host": "evil.example"}, {"origin": "https://evil.example"}, {"origin": "null"}])
def test_without_keys_pages_of_other_sites_are_refused(http, headers):
    reply = http.ask("POST", f"{DOCS}/truncate", b"{}", {**JSON, **headers})
    assert error_of(reply)[:2] == (403, "PERMISSION_DENIED")
    assert http.collection("docs").count() == 3


def test_its_own_pages_are_answered(http, web):
    origin = web.http.rstrip("/")
    assert http.ask("POST", f"{DOCS}/count", b"{}", {**JSON, "origin": origin})[0] == 200
    port = urlsplit(web.http).port
    assert http.ask("GET", "/v1/info", None, {"host": f"localhost:{port}"})[0] == 200


def test_answers_are_as_documented(http):
    found = http.call("POST", f"{DOCS}/search", q=[[0, 1, 0]], k=2, with_payloads=True)
    assert found["results"] == [{"hits": [{"id": 2, "score": 1, "payload": {"n": 2}}, found["results"][0]["hits"][1]]}]
    assert found["elapsed_us"] > 0 and found["batch_queries"] == 1
    grouped = http.call("POST", f"{DOCS}/search", q=[0, 1, 0], k=1, group_by="n", group_size=2)
    assert grouped["results"] == [{"groups": [{"value": 2, "hits": [{"id": 2, "score": 1}]}]}]
    one = base64.b64encode(np.float32([0, 1, 0]).tobytes()).decode()
    assert http.call("POST", f"{DOCS}/search", q=one, k=2)["results"][0]["hits"][0] == {"id": 2, "score": 1}
    rows = http.call("POST", f"{DOCS}/get", ids=[3, 9], vectors=True)["rows"]
    assert rows == [{"id": 3, "payload": None, "vector": [0, 0, 1]}, None]
    assert http.call("POST", f"{DOCS}/scroll", limit=1, after=1, payloads=False) == {"rows": [{"id": 2}], "full": False}


def test_garbage_instead_of_http_does_no_harm(web, http):
    address = urlsplit(web.http)
    for garbage in (
        b"\x00" * 1000,
        b"GET " + b"a" * 100_000,
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x16\x03\x01\x02\x00",
    ):
        with socket.create_connection((address.hostname, address.port), timeout=10) as connection:
            connection.sendall(garbage)
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(1 << 16):
                pass
    assert http.call("GET", "/v1/health") == {"status": "SERVING"}


def test_the_description_has_every_route_and_field(http):
    described = http.call("GET", "/openapi.json")
    assert described["openapi"] == "3.1.0"
    seen = {(verb.upper(), path) for path, verbs in described["paths"].items() for verb in verbs}
    table = routes(dict)
    assert seen == {(route.verb, route.path) for route in table}
    operations = [one for verbs in described["paths"].values() for one in verbs.values()]
    assert len({one["operationId"] for one in operations}) == len(operations)
    search = described["paths"]["/v1/collections/{name}/search"]["post"]
    body = search["requestBody"]["content"]["application/json"]["schema"]
    assert body["properties"]["k"] == {
        "type": "integer",
        "description": "How many rows, or groups, of each query.",
        "default": 10,
    }
    assert {parameter["name"] for parameter in search["parameters"]} == {"name", "x-request-id", "x-timeout-ms"}


def test_answers_have_the_fields_of_their_examples(http, bz):
    digest = http.register_model(bz)
    for route in routes(dict):
        if route.verb != "GET" or route.path in ("/v1/producer", "/v1/snapshots"):
            continue
        path = route.path.format(name="docs", digest=digest)
        assert set(http.call("GET", path)) == set(route.answer), path


def test_calls_are_counted_and_timed(http):
    http.call("POST", f"{DOCS}/search", q=[0, 1, 0])
    series = http.call("GET", "/v1/latency")
    slot = series["methods"]["Points/Search"][-1]
    assert slot["calls"] >= 1 and 0 < slot["p50_ms"] <= slot["p99_ms"]
    text = http.ask("GET", "/metrics")[2].decode()
    assert 'bebr_call_seconds_count{collection="docs",method="Points/Search"}' in text
    assert 'bebr_rows{collection="docs"} 3.0' in text


def test_grpc_and_http_are_one_database(http, web):
    with web.connect() as client:
        assert client.collection("docs").get([2])[0].payload == {"n": 2}
        client.create_collection("shared", dim=2).upsert([1], [[1, 2]])
        assert http.collection("shared").count() == 1
        http.drop_collection("shared")
        with pytest.raises(KeyError):
            client.collection("shared")
    assert isinstance(client, bebr.serve.client.Client)
