"""What a server tells of itself by the standard services: health, of each collection too, and reflection."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
from grpc_health.v1 import health, health_pb2
from grpc_reflection.v1alpha import reflection, reflection_pb2

from bebr.serve.access import Access
from bebr.serve.status import Refused, told
from bebr.serve.unpacking import standard
from bebr.v1 import bebr_pb2 as pb

_Status = health_pb2.HealthCheckResponse
_COLLECTION = "collection/"
_REFLECTION = "grpc.reflection.v1.ServerReflection"
# Seconds in which those who watch are told that the server stops.
_LAST_WORD = 0.05
SERVICES = [service.full_name for service in pb.DESCRIPTOR.services_by_name.values()]


class Health(health.aio.HealthServicer):  # type: ignore[misc]
    """grpc.health.v1: the server (""), each service, and each collection as "collection/NAME": NOT_SERVING where it is
    damaged. ``look`` opens a collection that nobody has asked for yet; what it finds comes back by `set_collection`.
    The health of a collection needs a key that is granted it."""

    def __init__(self, look: Callable[[str], Awaitable[object]], access: Access) -> None:
        super().__init__()
        self._look = look
        self._access = access
        self._over = asyncio.Event()
        self._watching = 0

    async def Check(self, request: health_pb2.HealthCheckRequest, context: Any) -> health_pb2.HealthCheckResponse:
        await self._admit(request, context)
        if request.service.startswith(_COLLECTION):
            with contextlib.suppress(Exception):  # the status says so
                await self._look(request.service.removeprefix(_COLLECTION))
        reply = await super().Check(request, context)
        if reply.status == _Status.SERVICE_UNKNOWN:
            await context.abort(grpc.StatusCode.NOT_FOUND)
        return reply

    async def Watch(self, request: health_pb2.HealthCheckRequest, context: Any) -> None:
        await self._admit(request, context)
        watching = asyncio.ensure_future(super().Watch(request, context))
        over = asyncio.ensure_future(self._over.wait())
        self._watching += 1
        try:
            await asyncio.wait({watching, over}, return_when=asyncio.FIRST_COMPLETED)
            if watching.done():
                watching.result()
        finally:
            self._watching -= 1
            watching.cancel()
            over.cancel()
        await context.abort(grpc.StatusCode.UNAVAILABLE, "the server stops")

    async def enter_graceful_shutdown(self) -> None:
        """Has everybody who watches told so, and ends that: it is no call that a stopping server should wait for."""
        await super().enter_graceful_shutdown()
        if self._watching:
            await asyncio.sleep(_LAST_WORD)
        self._over.set()

    async def _admit(self, request: health_pb2.HealthCheckRequest, context: Any) -> None:
        if request.service.startswith(_COLLECTION):
            try:
                self._access.check_grant(request.service.removeprefix(_COLLECTION))
            except Refused as refused:
                await context.abort(refused.code, told(refused.message))

    async def set_serving(self) -> None:
        for name in ("", *SERVICES):
            await self.set(name, _Status.SERVING)

    async def set_collection(self, name: str, works: bool | None) -> None:
        """``works``: None where there is no such collection any more."""
        status = {True: _Status.SERVING, False: _Status.NOT_SERVING, None: _Status.SERVICE_UNKNOWN}[works]
        await self.set(_COLLECTION + name, status)


def add_standard_services(server: grpc.aio.Server, checks: Health) -> None:
    """Health and reflection, the latter as v1 and as v1alpha, which are the same but for the name."""
    said = health_pb2.HealthCheckResponse.SerializeToString
    asked = standard(health_pb2.HealthCheckRequest)
    handlers = {
        "Check": grpc.unary_unary_rpc_method_handler(checks.Check, asked, said),
        "Watch": grpc.unary_stream_rpc_method_handler(checks.Watch, asked, said),
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(health.SERVICE_NAME, handlers),))
    names = [*SERVICES, health.SERVICE_NAME, reflection.SERVICE_NAME, _REFLECTION]
    describe = grpc.stream_stream_rpc_method_handler(
        reflection.aio.ReflectionServicer(names).ServerReflectionInfo,
        standard(reflection_pb2.ServerReflectionRequest),
        reflection_pb2.ServerReflectionResponse.SerializeToString,
    )
    for name in (reflection.SERVICE_NAME, _REFLECTION):
        handler = grpc.method_handlers_generic_handler(name, {"ServerReflectionInfo": describe})
        server.add_generic_rpc_handlers((handler,))
