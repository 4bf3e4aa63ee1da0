"""What is of no collection: any leaf answers for all."""

from __future__ import annotations

import asyncio
from typing import Any, NoReturn

from bebr.cluster.known import Cluster
from bebr.v1 import bebr_pb2 as pb


class Models:
    def __init__(self, cluster: Cluster) -> None:
        self._leaves = cluster.leaves

    async def Register(self, request: pb.RegisterModelRequest) -> pb.RegisterModelResponse:
        """At all leaves that answer: they may be servers of folders, which share no models."""
        self._leaves.check_heard()
        work = [self._leaves.anywhere("Models/Register", request, [leaf]) for leaf in self._leaves.all]
        results = await asyncio.gather(*work, return_exceptions=True)
        failed = [result for result in results if isinstance(result, BaseException)]
        wrong = [error for error in failed if not isinstance(error, ConnectionError | TimeoutError)]
        if wrong or len(failed) == len(results):
            raise (wrong or failed)[0]
        reply: pb.RegisterModelResponse = next(result for result in results if not isinstance(result, BaseException))[0]
        return reply

    async def List(self, request: pb.ListModelsRequest) -> pb.ListModelsResponse:
        reply: pb.ListModelsResponse = (await self._leaves.anywhere("Models/List", request))[0]
        return reply

    async def Get(self, request: pb.GetModelRequest) -> pb.GetModelResponse:
        reply: pb.GetModelResponse = (await self._leaves.anywhere("Models/Get", request))[0]
        return reply


class Producer:
    """As leaves have it: all should be started with the same one."""

    def __init__(self, cluster: Cluster) -> None:
        self._leaves = cluster.leaves

    async def Describe(self, request: pb.DescribeProducerRequest) -> pb.DescribeProducerResponse:
        reply: pb.DescribeProducerResponse = (await self._leaves.anywhere("Producer/Describe", request))[0]
        return reply

    async def Embed(self, request: pb.EmbedRequest) -> pb.EmbedResponse:
        reply: pb.EmbedResponse = (await self._leaves.anywhere("Producer/Embed", request))[0]
        return reply


class Snapshots:
    """None: the database is not the root's, and PostgreSQL's backup is its snapshot."""

    async def Create(self, request: Any) -> NoReturn:
        raise KeyError("a root makes no snapshots: back up PostgreSQL, then the object store (docs/cluster.md)")

    async def List(self, request: Any) -> NoReturn:
        await self.Create(request)

    async def Restore(self, request: Any) -> NoReturn:
        await self.Create(request)
