"""Traces by OpenTelemetry: a span a call, sent by OTLP over HTTP to where OTEL_EXPORTER_OTLP_ENDPOINT says. Without
that variable nothing of OpenTelemetry is imported (docs/operations.md)."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from bebr.about import info
from bebr.extras import needed
from bebr.serve.calls import Call
from bebr.serve.logs import about
from bebr.serve.status import status_code

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
PARENT = "traceparent"
_PACKAGE = "bebr.v1"
# Milliseconds for which a stopping server waits for its last spans to be sent.
_LAST_MS = 3000


def configured(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether spans are wanted, by the variables that OpenTelemetry has for it."""
    off = environment.get("OTEL_SDK_DISABLED", "").lower() == "true"
    return not off and any(environment.get(name) for name in ENDPOINTS)


def exporting() -> TracerProvider:
    """Sends spans as the environment says (OTEL_EXPORTER_OTLP_…, OTEL_TRACES_SAMPLER, OTEL_SERVICE_NAME, by default
    "bebr"). Needs the extra ``otel``."""
    with needed("otel", "OTEL_EXPORTER_OTLP_ENDPOINT"):
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

    named = {} if os.environ.get("OTEL_SERVICE_NAME") else {"service.name": "bebr"}
    provider = TracerProvider(resource=Resource.create({**named, "service.version": info()["version"]}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return provider


class Tracing:
    """A listener of `bebr.serve.calls.Calls`."""

    def __init__(self, provider: TracerProvider) -> None:
        from opentelemetry.trace import SpanKind, StatusCode
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        self._provider = provider
        self._tracer = provider.get_tracer("bebr", info()["version"])
        self._context: Callable[[Mapping[str, str]], Any] = TraceContextTextMapPropagator().extract
        self._server, self._failed = SpanKind.SERVER, StatusCode.ERROR

    def note(self, call: Call) -> None:
        """A call has ended. One that the front has answered by itself has no id, and no span."""
        if not call.request_id:
            return
        end = time.time_ns()
        span = self._tracer.start_span(
            f"{_PACKAGE}.{call.method}",
            context=self._context(call.trace),
            kind=self._server,
            start_time=end - call.elapsed,
        )
        if span.is_recording():
            service, _, method = call.method.partition("/")
            span.set_attributes(
                {
                    "rpc.system": "grpc",
                    "rpc.service": f"{_PACKAGE}.{service}",
                    "rpc.method": method,
                    "rpc.grpc.status_code": status_code(call.code),
                    "bebr.request_id": call.request_id,
                    **{f"bebr.{name}": value for name, value in about(call).items() if name not in ("method", "ms")},
                }
            )
            if call.code != "OK":
                span.set_status(self._failed, call.code)
        span.end(end)

    def close(self) -> None:
        """Sends what is left."""
        self._provider.force_flush(_LAST_MS)
        self._provider.shutdown()
