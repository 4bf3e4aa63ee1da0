"""What of OpenTelemetry is to be told of spans whose sampling was decided before."""

from __future__ import annotations

from typing import Any

from opentelemetry.context import Context, create_key, get_value, set_value
from opentelemetry.sdk.trace.sampling import Decision, Sampler, SamplingResult


class Chosen(Sampler):  # type: ignore[misc]
    """Records the spans that are to be begun in a context of `marked`; of all else another sampler decides.

    The front chooses which of its calls are told of at all. To have chance choose among these again would leave the
    square of the share that was asked for.
    """

    def __init__(self, others: Sampler) -> None:
        self._others = others
        self._key = create_key("bebr-chosen")

    def marked(self, context: Context) -> Context:
        return set_value(self._key, True, context)

    def should_sample(
        self, parent_context: Context | None, trace_id: int, name: str, *more: Any, **named: Any
    ) -> SamplingResult:
        if parent_context is not None and get_value(self._key, parent_context):
            return SamplingResult(Decision.RECORD_AND_SAMPLE)
        return self._others.should_sample(parent_context, trace_id, name, *more, **named)

    def get_description(self) -> str:
        return str(self._others.get_description())
