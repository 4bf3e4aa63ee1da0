"""Traces: a span a call, under its caller's, sent where the environment says; else nothing of it is loaded."""

from __future__ import annotations

import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import grpc
import pytest

import bebr
from bebr.collection.options import SearchOptions
from bebr.serve.calls import Calls, note_search
from bebr.serve.convert import vectors_to_message
from bebr.serve.tracing import Tracing, configured
from bebr.v1 import bebr_pb2 as pb

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
            docs.search(vectors[:1], 5)  # by the front, where there is one: in no trace
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
    assert {"Collections/Create", "Points/Upsert", "Collections/Get", "Points/Search"} <= set(names)
    (traced,) = (span for span in spans if span.trace_id.hex() == TRACE)
    assert traced.name == "bebr.v1.Points/Search" and traced.parent_span_id.hex() == PARENT
    assert {one.key: one.value for one in traced.attributes}["bebr.rows"].int_value == 100
    (failed,) = (span for span in spans if span.status.code == 2)
    assert failed.name == "bebr.v1.Collections/Get" and failed.status.message == "NOT_FOUND"


def test_without_an_endpoint_nothing_of_it_is_loaded():
    assert not configured({}) and not configured({"OTEL_EXPORTER_OTLP_ENDPOINT": ""})
    assert configured({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://collector:4318/v1/traces"})
    assert not configured({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318", "OTEL_SDK_DISABLED": "true"})
    script = "import sys, bebr.serve.server; sys.exit('opentelemetry' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
