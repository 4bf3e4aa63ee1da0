"""Traces: a span a call, under its caller's, sent where the environment says; else nothing of it is loaded."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer

import grpc
import pytest

import bebr
from bebr.collection.options import SearchOptions
from bebr.serve.calls import Call, Calls, note_search
from bebr.serve.convert import vectors_to_message
from bebr.serve.tracing import Sampling, Tracing, configured, sampling
from bebr.v1 import bebr_pb2 as pb
from tests.serve.fronted import Fronted, answered

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
RECORDED = {"traceparent": f"00-{TRACE}-{PARENT}-01", "x-request-id": "asked-1"}
pytest.importorskip("opentelemetry.sdk")


@pytest.fixture
def spans():
    """Calls that are traced, and what was exported of them."""
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    exporter, provider, calls = InMemorySpanExporter(), TracerProvider(), Calls()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    calls.listeners.append(Tracing(provider).note)
    return calls, exporter.get_finished_spans


def test_a_span_says_what_a_call_did_and_whose_it_is(spans):
    calls, finished = spans
    with calls.noted("Points/Search", RECORDED) as call:
        call.collection = "docs"
        note_search(SearchOptions(10, "float", 9, False), 3)
    (span,) = finished()
    assert span.name == "bebr.v1.Points/Search" and span.kind.name == "SERVER"
    assert f"{span.context.trace_id:032x}" == TRACE and f"{span.parent.span_id:016x}" == PARENT
    assert span.end_time - span.start_time == call.elapsed and span.status.is_ok is not False
    said = dict(span.attributes)
    assert said["rpc.service"] == "bebr.v1.Points" and said["rpc.method"] == "Search"
    assert said["rpc.grpc.status_code"] == 0 and said["bebr.request_id"] == "asked-1"
    assert said["bebr.collection"] == "docs" and said["bebr.queries"] == 3 and said["bebr.plan"] == "oversampling=9"


def test_a_call_that_failed_is_an_error_and_one_without_a_parent_a_root(spans):
    calls, finished = spans
    with calls.noted("Points/Get") as call:
        call.code = "NOT_FOUND"
    (span,) = finished()
    assert span.parent is None and not span.status.is_ok and span.attributes["rpc.grpc.status_code"] == 5


def test_a_trace_that_is_not_recorded_stays_so(spans):
    calls, finished = spans
    with calls.noted("Points/Get", {"traceparent": f"00-{TRACE}-{PARENT}-00"}):
        pass
    assert not finished()


@pytest.fixture
def collector():
    """An OTLP receiver on loopback: `requests` are what was sent to it."""
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            server.requests.append((self.path, ExportTraceServiceRequest.FromString(body)))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *arguments: object) -> None: ...

    server = HTTPServer(("127.0.0.1", 0), Receiver)
    server.requests = []
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()


def test_a_server_sends_its_spans_before_it_ends(start, tmp_path, collector, monkeypatch, bz, vectors):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{collector.server_port}")
    with start(tmp_path) as server:
        with server.connect() as client:
            docs = client.create_collection("docs", bz)
            docs.upsert(range(100), vectors[:100])
            docs.search(vectors[:1], 5)
            with pytest.raises(KeyError):
                client.collection("none")
        request = pb.SearchRequest(collection="docs", queries=vectors_to_message(vectors[:1]), k=5)
        with grpc.insecure_channel(server.target) as channel:
            search = channel.unary_unary("/bebr.v1.Points/Search")
            search(request.SerializeToString(), metadata=(("traceparent", RECORDED["traceparent"]),))
        server.stop()
    sent = [one for path, request in collector.requests if path == "/v1/traces" for one in request.resource_spans]
    assert {"service.name": "bebr", "service.version": bebr.__version__}.items() <= {
        one.key: one.value.string_value for one in sent[0].resource.attributes
    }.items()
    spans = [span for one in sent for scope in one.scope_spans for span in scope.spans]
    names = [span.name.removeprefix("bebr.v1.") for span in spans]
    assert {"Collections/Create", "Points/Upsert", "Collections/Get"} <= set(names)
    assert names.count("Points/Search") == 2  # by the front, where there is one
    (traced,) = (span for span in spans if span.trace_id.hex() == TRACE)
    assert traced.name == "bebr.v1.Points/Search" and traced.parent_span_id.hex() == PARENT
    assert {one.key: one.value for one in traced.attributes}["bebr.rows"].int_value == 100
    (failed,) = (span for span in spans if span.status.code == 2)
    assert failed.name == "bebr.v1.Collections/Get" and failed.status.message == "NOT_FOUND"


@pytest.fixture
def traced(tmp_path, monkeypatch, bz, vectors):
    """Serves a collection, with a share of the calls traced; what listeners are told of searches."""
    pytest.importorskip("bebr._front", reason="built without libnghttp2")
    with bebr.open(tmp_path) as db:
        db.create_collection("docs", bz).upsert(range(100), vectors[:100])
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    request = pb.SearchRequest(collection="docs", queries=vectors_to_message(vectors[:1]), k=5).SerializeToString()
    served, told = [], []

    def run(share: str, flags: list[str | None]) -> list[Call]:
        monkeypatch.setenv("OTEL_TRACES_SAMPLER", "parentbased_traceidratio")
        monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", share)
        served.append(Fronted(tmp_path))
        with bebr.connect(served[0].target) as client:
            client.collection("docs").search(vectors[:1], 5)
        served[0].calls.listeners.append(told.append)
        with grpc.insecure_channel(served[0].target) as channel, answered(served[0], len(flags)):
            search = channel.unary_unary("/bebr.v1.Points/Search")
            for flag in flags:
                trace = {} if flag is None else {"traceparent": f"00-{TRACE}-{PARENT}-{flag}"}
                search(request, metadata=tuple({"x-request-id": "asked-2", **trace}.items()))
        served[0].stop()
        return told

    yield run
    served[0].stop()


def test_a_call_that_the_front_answers_is_told_of_where_its_trace_is_recorded(traced):
    before = time.time_ns()
    (call,) = traced("0", ["01", "00", None])
    assert call.traced and call.trace["traceparent"] == RECORDED["traceparent"] and call.request_id == "asked-2"
    assert call.method == "Points/Search" and call.code == "OK" and call.collection == "docs"
    assert before + call.elapsed <= call.ended <= time.time_ns() and call.search.queries == 1


def test_of_calls_without_a_trace_the_share_that_was_asked_for_is_told_of(traced):
    told = traced("0.5", [None] * 200)
    assert 50 < len(told) < 150 and all(call.traced and not call.trace for call in told)


def test_what_the_front_chose_is_not_chosen_among_again():
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
    from opentelemetry.sdk.trace.sampling import TraceIdRatioBased

    exporter, provider = InMemorySpanExporter(), TracerProvider(sampler=TraceIdRatioBased(0.0))
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracing = Tracing(provider, Sampling(0.3, True, False))
    tracing.note(Call("Points/Search", "asked-3", traced=True, ended=9_000, elapsed=2_000))
    tracing.note(Call("Points/Search", "asked-4", traced=False))
    tracing.note(Call("Points/Get", "asked-5"))
    (span,) = exporter.get_finished_spans()
    assert (span.start_time, span.end_time) == (7_000, 9_000)


@pytest.mark.parametrize(
    ("sampler", "share", "wanted"),
    [
        ("", "", Sampling(1.0, True, False)),
        ("always_on", "", Sampling(1.0, True, True)),
        ("always_off", "", Sampling()),
        ("parentbased_always_off", "", Sampling(0.0, True, False)),
        ("traceidratio", "0.1", Sampling(0.1, True, True)),
        ("parentbased_traceidratio", "0.1", Sampling(0.1, True, False)),
        ("parentbased_traceidratio", "much", Sampling(1.0, True, False)),
        ("jaeger_remote", "", Sampling(1.0, True, True)),
    ],
)
def test_what_the_front_is_to_choose(sampler, share, wanted):
    environment = {"OTEL_TRACES_SAMPLER": sampler, "OTEL_TRACES_SAMPLER_ARG": share}
    assert sampling({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318", **environment}) == wanted
    assert sampling(environment) == Sampling()


def test_without_an_endpoint_nothing_of_it_is_loaded():
    assert not configured({}) and not configured({"OTEL_EXPORTER_OTLP_ENDPOINT": ""})
    assert configured({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://collector:4318/v1/traces"})
    assert not configured({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318", "OTEL_SDK_DISABLED": "true"})
    script = "import sys, bebr.serve.server; sys.exit('opentelemetry' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
