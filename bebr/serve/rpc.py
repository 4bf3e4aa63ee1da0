"""From bytes to bytes: how gRPC calls a method of a service. A request is admitted, parsed and answered here; errors
become status codes, and faults of the server go to its log."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message import DecodeError, Message

from bebr.serve.admission import COPIES, Budget
from bebr.serve.status import status_of
from bebr.v1 import bebr_pb2 as pb

_log = logging.getLogger("bebr.serve")

Handler = Callable[[Any, Any], Awaitable[bytes]]


def service_handler(name: str, service: object, budget: Budget) -> grpc.GenericRpcHandler:
    """The handler of the service ``name`` of bebr.v1, from an object that has its methods.

    Requests are parsed here: where gRPC parses them, one that cannot be parsed is answered UNKNOWN.
    """
    descriptor: ServiceDescriptor = pb.DESCRIPTOR.services_by_name[name]
    methods = {method.name: _method(getattr(service, method.name), method, budget) for method in descriptor.methods}
    return grpc.method_handlers_generic_handler(descriptor.full_name, methods)


def _method(work: Callable[..., Awaitable[Message]], method: MethodDescriptor, budget: Budget) -> grpc.RpcMethodHandler:
    """Its handler. A stream of requests counts them in the budget itself, as it takes them."""
    kind = getattr(pb, method.input_type.name)

    async def one(data: bytes, context: Any) -> bytes:
        with budget.hold(COPIES * len(data), "the request"):
            return bytes((await work(_parsed(data, kind))).SerializeToString())

    async def several(messages: AsyncIterator[bytes], context: Any) -> bytes:
        return bytes((await work(messages, lambda data: _parsed(data, kind))).SerializeToString())

    if method.client_streaming:
        return grpc.stream_unary_rpc_method_handler(_answering(several, work.__qualname__))
    return grpc.unary_unary_rpc_method_handler(_answering(one, work.__qualname__))


def _answering(work: Handler, name: str) -> Handler:
    async def handle(request: Any, context: Any) -> bytes:
        try:
            return await work(request, context)
        except Exception as error:
            known = status_of(error)
            if known is None:
                _log.exception("%s failed", name)
                known = grpc.StatusCode.INTERNAL, f"{type(error).__name__} in the server: its log has the details"
        await context.abort(*known)
        raise AssertionError("abort raises")

    return handle


def _parsed(data: bytes, kind: type[Message]) -> Message:
    try:
        return kind.FromString(data)
    except DecodeError as error:
        raise ValueError(f"the request is not a {kind.DESCRIPTOR.full_name}: {error}") from error
