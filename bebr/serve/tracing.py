"""Traces by OpenTelemetry: a span a call, sent by OTLP over HTTP to where OTEL_EXPORTER_OTLP_ENDPOINT says. Without
that variable nothing of OpenTelemetry is imported (docs/operations.md)."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
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


@dataclass(frozen=True)
class Sampling:
    """Which calls that the front answers have spans: a share of those without a trace (``roots``), and those of a trace
    that its caller says is being recorded, or is not."""

    roots: float = 0.0
    recorded: bool = False
    unrecorded: bool = False


def sampling(environment: Mapping[str, str] = os.environ) -> Sampling:
    """What OTEL_TRACES_SAMPLER asks for, as far as chance and the caller's word decide it; else all calls, of which
    the sampler then leaves out what it will."""
    if not configured(environment):
        return Sampling()
    name = environment.get("OTEL_TRACES_SAMPLER", "").strip().lower() or "parentbased_always_on"
    kind = name.removeprefix("parentbased_")
    if kind not in ("always_on", "always_off", "traceidratio"):
        return Sampling(1.0, True, True)
    share = {"always_on": 1.0, "always_off": 0.0}.get(kind)
    if share is None:
        try:
            share = float(environment.get("OTEL_TRACES_SAMPLER_ARG", ""))
        except ValueError:  # OpenTelemetry takes all then
            share = 1.0
        share = share if 0 <= share <= 1 else 1.0
    by_parent = kind != name
    return Sampling(share, by_parent or share > 0, not by_parent and share > 0)


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

    def __init__(self, provider: TracerProvider, sampling: Sampling | None = None) -> None:
        """``sampling``: that of the front, which chose among its calls."""
        from opentelemetry.trace import SpanKind, StatusCode
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        from bebr.serve.spans import Chosen

        self._by_chance = sampling is not None and 0 < sampling.roots < 1
        self._provider = provider
        provider.sampler = self._chosen = Chosen(provider.sampler)
        self._tracer = provider.get_tracer("bebr", info()["version"])
        self._context: Callable[[Mapping[str, str]], Any] = TraceContextTextMapPropagator().extract
        self._server, self._failed = SpanKind.SERVER, StatusCode.ERROR

    def note(self, call: Call) -> None:
        """A call has ended."""
        if call.traced is False:
            return
        end = call.ended or time.time_ns()
        context = self._context(call.trace)
        if call.traced and self._by_chance and PARENT not in call.trace:
            context = self._chosen.marked(context)
        span = self._tracer.start_span(
            f"{_PACKAGE}.{call.method}",
            context=context,
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
