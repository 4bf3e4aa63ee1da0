"""From bytes to bytes: how gRPC calls a method of a service. A request is admitted, parsed and answered here; errors
become status codes, and faults of the server go to its log."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

import grpc
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message import DecodeError, Message

from bebr.serve.access import RULES, Access
from bebr.serve.admission import COPIES, Budget
from bebr.serve.calls import REQUEST_ID, SAID, Call, Calls, current_call
from bebr.serve.limits import Limits
from bebr.serve.peers import peer_of
from bebr.serve.status import status_of, told
from bebr.serve.unpacking import Unpacking
from bebr.v1 import bebr_pb2 as pb

_log = logging.getLogger("bebr.serve")

Handler = Callable[[Any, Any], Awaitable[bytes]]


class Services:
    """The services of bebr.v1 by name, for what answers beside gRPC: a call is admitted here as gRPC's are."""

    def __init__(self, services: Mapping[str, object], access: Access) -> None:
        self._services = services
        self.access = access

    async def call(self, name: str, request: Message) -> Message:
        """The reply of "Service/Method" to one message, in a task whose caller has entered. Errors are those of the
        method, and `Refused`."""
        self.access.check_role(name)
        service, method = name.split("/")
        with self.access.admitted(name, request):
            reply: Message = await getattr(self._services[service], method)(request)
        return self.access.shown(reply)


def service_handler(
    name: str, service: object, limits: Limits, budget: Budget, calls: Calls, access: Access
) -> grpc.GenericRpcHandler:
    """The handler of the service ``name`` of bebr.v1, from an object that has its methods.

    Requests are parsed here: where gRPC parses them, one that cannot be parsed is answered UNKNOWN.
    """
    descriptor: ServiceDescriptor = pb.DESCRIPTOR.services_by_name[name]
    unpacking = Unpacking(limits.message_bytes, budget)
    methods = {
        method.name: _method(getattr(service, method.name), method, unpacking, budget, calls, access)
        for method in descriptor.methods
    }
    return grpc.method_handlers_generic_handler(descriptor.full_name, methods)


def _method(
    work: Callable[..., Awaitable[Message]],
    method: MethodDescriptor,
    unpacking: Unpacking,
    budget: Budget,
    calls: Calls,
    access: Access,
) -> grpc.RpcMethodHandler:
    """Its handler. A stream of requests counts them in the budget itself, as it takes them."""
    kind = getattr(pb, method.input_type.name)
    name = f"{method.containing_service.name}/{method.name}"
    assert name in RULES, f"{name} states no role in bebr.serve.access"
    named = next((field for field in ("collection", "name") if field in method.input_type.fields_by_name), None)

    def parsed(data: bytes) -> Message:
        request = _parsed(data, kind)
        call = current_call()
        if named is not None and call is not None:
            call.collection = call.collection or getattr(request, named)  # a stream names it in its first message
        return request

    async def one(received: bytes, context: Any) -> bytes:
        data = await unpacking.message(received)
        with budget.hold(COPIES * len(data), "the request"):
            request = parsed(data)
            with access.admitted(name, request):
                reply = await work(request)
            return bytes(access.shown(reply).SerializeToString())

    async def several(messages: AsyncIterator[bytes], context: Any) -> bytes:
        def granted(data: bytes) -> Message:
            request = parsed(data)
            access.check_grants(name, request)
            return request

        return bytes((await work(unpacking.messages(messages), granted)).SerializeToString())

    if method.client_streaming:
        return grpc.stream_unary_rpc_method_handler(_answering(several, name, calls))
    return grpc.unary_unary_rpc_method_handler(_answering(one, name, calls))


def _answering(work: Handler, name: str, calls: Calls) -> Handler:
    async def handle(request: Any, context: Any) -> bytes:
        calls.unanswered += 1
        context.add_done_callback(calls.answered)
        metadata = context.invocation_metadata() or ()
        said = {key: value for key, value in metadata if key in SAID and isinstance(value, str)}
        with calls.noted(name, said, peer_of(context)) as call:
            context.set_trailing_metadata(((REQUEST_ID, call.request_id),))
            try:
                return await work(request, context)
            except Exception as error:
                code, message = _status(error, call)
                call.code = code.name
        # It is counted by now: who is told of an error finds it in the metrics.
        await context.abort(code, told(message))
        raise AssertionError("abort raises")

    return handle


def _status(error: Exception, call: Call) -> tuple[grpc.StatusCode, str]:
    known = status_of(error)
    if known is not None:
        return known
    _log.exception("%s failed", call.method)
    return grpc.StatusCode.INTERNAL, f"{type(error).__name__} in the server: its log has the details"


def _parsed(data: bytes, kind: type[Message]) -> Message:
    try:
        return kind.FromString(data)
    except DecodeError as error:
        raise ValueError(f"the request is not a {kind.DESCRIPTOR.full_name}: {error}") from error
