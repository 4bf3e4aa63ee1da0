"""Models are registered, listed, fetched."""

from __future__ import annotations

from bebr.binarizer import Binarizer
from bebr.errors import CorruptFile
from bebr.serve import convert
from bebr.serve.registry import CollectionRegistry
from bebr.v1 import bebr_pb2 as pb


class Models:
    def __init__(self, registry: CollectionRegistry) -> None:
        self._registry = registry

    async def Register(self, request: pb.RegisterModelRequest) -> pb.RegisterModelResponse:
        self._registry.budgets.check_bytes(len(request.data), "the model")

        def register() -> str:
            try:
                bz = Binarizer.from_bytes(request.data, "data")
            except CorruptFile as error:  # nothing of ours is damaged: the request is wrong
                raise ValueError(str(error)) from error
            return self._registry.db.register_model(bz)

        return pb.RegisterModelResponse(digest=await self._registry.read(register))

    async def List(self, request: pb.ListModelsRequest) -> pb.ListModelsResponse:
        models = await self._registry.read(self._registry.db.models)
        return pb.ListModelsResponse(models=[convert.model_to_message(model) for model in models])

    async def Get(self, request: pb.GetModelRequest) -> pb.GetModelResponse:
        data = await self._registry.read(lambda: self._registry.db.model(request.digest).to_bytes())
        return pb.GetModelResponse(data=data)
