"""Whether a leaf has opened the shards that it takes."""

from __future__ import annotations

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from bebr.serve.channel import Address
from bebr.v1 import bebr_pb2 as pb
from bebr.v1 import bebr_pb2_grpc as rpc

_PATIENCE = 10.0


def opened(address: str) -> bool:
    """Whether the leaf there has opened all of them. Those that are closed it opens now; one that it cannot open stays
    closed."""
    with grpc.insecure_channel(address, options=Address.of(address, None, 0, None, None).options()) as channel:
        try:
            said = rpc.CollectionsStub(channel).List(pb.ListCollectionsRequest(), timeout=_PATIENCE)
            asks = health_pb2_grpc.HealthStub(channel).Check
            # Of a version of 0 it is not open, or has never had a row.
            for name, version in zip(said.names, said.versions, strict=True):
                asked = health_pb2.HealthCheckRequest(service=f"collection/{name}")
                if version == 0 and asks(asked, timeout=_PATIENCE).status != health_pb2.HealthCheckResponse.SERVING:
                    return False
        except grpc.RpcError:
            return False
    return True
