"""Producers around other libraries' models: sentence-transformers for texts, timm and torchvision for pictures.

All run from files on this machine: nothing here asks a hub for weights.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bebr.models import items as kinds
from bebr.models import weights as files
from bebr.models.producer import Producer, check_batch_size

__all__ = ["SentenceTransformers", "Timm", "Torchvision"]

_METRICS = {"cosine": "cosine", "dot": "ip", "euclidean": "l2"}


class SentenceTransformers(Producer):
    """A model folder of sentence-transformers (``modules.json`` and its files): texts to vectors.

    ``max_tokens`` cuts longer texts (the model's own limit if None). ``dtype`` is the arithmetic of the network,
    ``"float32"``, ``"bfloat16"`` or ``"float16"``; vectors are float32 either way, and of unit length where the model's
    similarity is the cosine. The version is the digest of the weights.

    Raises FileNotFoundError where ``weights`` is no folder, ValueError for a similarity that no index has.
    """

    name = "sentence-transformers"
    modality = "text"

    def __init__(
        self, weights: str | Path, max_tokens: int | None = None, dtype: str = "float32", device: str = "cpu"
    ) -> None:
        folder = Path(weights).expanduser()
        if not folder.is_dir():
            raise FileNotFoundError(
                f"weights: {folder}: no such folder; wanted a model that sentence-transformers saved"
            )
        # Read at import by the hub client, so it has to be there before sentence-transformers is.
        os.environ.setdefault("HF_HUB_OFFLINE", "1")
        try:
            import torch
            from sentence_transformers import SentenceTransformer
        except ImportError as error:
            raise ImportError(
                f"the {self.name} producer needs torch and sentence-transformers ({error}): pip install 'bebr[models]'"
            ) from error
        if dtype not in ("float32", "bfloat16", "float16"):
            raise ValueError(f"dtype: got {dtype!r}, wanted 'float32', 'bfloat16' or 'float16'")
        self._torch = torch
        self.dtype = dtype
        with _quiet():
            self._model: Any = SentenceTransformer(str(folder), device=device)
        if max_tokens is not None:
            self._model.max_seq_length = max_tokens
        similarity = str(self._model.similarity_fn_name or "cosine")  # None until 3.1, and means the same
        if similarity not in _METRICS:
            raise ValueError(f"weights: {folder}: compares by {similarity!r}, wanted one of {', '.join(_METRICS)}")
        self.metric = _METRICS[similarity]
        of_dim = getattr(self._model, "get_embedding_dimension", None)  # its name since version 5
        self.dim = int((of_dim or self._model.get_sentence_embedding_dimension)())
        self.version = self._version()
        self._model.to(getattr(torch, dtype))

    def _version(self) -> str:
        return files.digest(self._model.state_dict())[:16]

    def embed(
        self, items: Sequence[str], batch_size: int = 64, progress: Callable[[int, int], None] | None = None
    ) -> npt.NDArray[np.float32]:
        """Encode texts to float32 ``[len(items), dim]`` in the order given.

        Texts are batched by length, so that little is spent on padding; ``progress(done, total)`` counts texts.
        Raises ValueError for a lone string, an item that is not one, or ``batch_size < 1``.
        """
        kinds.check(items, self.modality)
        check_batch_size(batch_size)
        vectors = np.empty((len(items), self.dim), dtype=np.float32)
        # Longest first: the slowest batch and the greatest need of memory come at once, not at the end.
        order = sorted(range(len(items)), key=lambda position: -len(items[position]))
        step = batch_size * 8
        for start in range(0, len(order), step):
            chosen = order[start : start + step]
            encoded = self._model.encode(
                [items[position] for position in chosen],
                batch_size=batch_size,
                convert_to_tensor=True,
                show_progress_bar=False,
            ).float()
            if self.metric == "cosine":  # after the widening: in bfloat16 a length is only good to three digits
                encoded = self._torch.nn.functional.normalize(encoded, dim=1)
            vectors[chosen] = encoded.cpu().numpy()
            if progress is not None:
                progress(min(start + step, len(order)), len(order))
        return vectors

    def save(self, folder: str | Path) -> None:
        """Write the model as sentence-transformers does; ``load("sentence-transformers", weights=folder)`` reads it."""
        self._model.save_pretrained(str(folder))


class _Pictures(Producer):
    """A network over pictures: its features before the classifier, not normalised."""

    modality = "image"
    metric = "cosine"
    _network: Any
    _transform: Any

    def _take(self, weights: str | Path | None, network: Any, device: str) -> None:
        """Fill ``network`` from a file of exactly its keys, set the version by it and move it to ``device``."""
        path = files.find(weights, self.name, "a .safetensors or .pth file of the model's state dict")
        state = files.read(path)
        files.compare(state, {key: tuple(value.shape) for key, value in network.state_dict().items()}, path)
        network.load_state_dict(state)
        self.version = files.digest(state)[:16]
        self._device = device
        self._network = network.eval().to(device)

    def encode(self, kind: str, batch: list[Any]) -> npt.NDArray[Any]:
        import torch

        with torch.inference_mode():
            pixels = torch.stack([self._transform(picture) for picture in batch]).to(self._device)
            features: npt.NDArray[Any] = self._features(pixels).float().cpu().numpy()
        return features

    def _features(self, pixels: Any) -> Any:
        return self._network(pixels)

    def save(self, folder: str | Path) -> None:
        """Write ``model.safetensors`` (a file that ``weights=`` takes) and ``config.json`` with the model's name."""
        config = {"producer": self.name, "size": self.size, "version": self.version}
        files.save(folder, self._network.state_dict(), config)

    size: str


class Timm(_Pictures):
    """A timm model, e.g. ``size="vit_base_patch16_224"``, with its own preprocessing: pictures to pooled features.

    Raises KeyError for a name that timm does not know, and what reading the weights raises.
    """

    name = "timm"

    def __init__(self, size: str, weights: str | Path | None = None, device: str = "cpu") -> None:
        timm = _module("timm", self.name)
        if not timm.is_model(size):
            near = timm.list_models(f"{size.split('_')[0]}*")[:6]
            raise KeyError(f"size: timm has no model {size!r}" + (f"; some near it: {', '.join(near)}" if near else ""))
        network = timm.create_model(size, pretrained=False)
        self.size = size
        self._take(weights, network, device)
        self.dim = int(network.num_features)
        if hasattr(network, "head_hidden_size"):
            self.dim = int(network.head_hidden_size)
        self._transform = timm.data.create_transform(**timm.data.resolve_model_data_config(network), is_training=False)

    def _features(self, pixels: Any) -> Any:
        return self._network.forward_head(self._network.forward_features(pixels), pre_logits=True)


class Torchvision(_Pictures):
    """A torchvision classifier, e.g. ``size="resnet50"``: pictures to what its last linear layer reads.

    Preprocessing is that of the model's published weights. Raises KeyError for a name that torchvision does not know.
    """

    name = "torchvision"

    def __init__(self, size: str, weights: str | Path | None = None, device: str = "cpu") -> None:
        models = _module("torchvision", self.name).models
        known = models.list_models(module=models)
        if size not in known:
            raise KeyError(f"size: torchvision has no classifier {size!r}; it has: {', '.join(known)}")
        import torch

        network = models.get_model(size, weights=None)
        self.size = size
        self._take(weights, network, device)
        last = [module for module in network.modules() if isinstance(module, torch.nn.Linear)][-1]
        self.dim = last.in_features
        self._transform = models.get_model_weights(size).DEFAULT.transforms()
        self._read: list[Any] = []
        last.register_forward_pre_hook(lambda _, inputs: self._read.append(inputs[0]))

    def _features(self, pixels: Any) -> Any:
        self._network(pixels)
        return self._read.pop().flatten(1)


def _module(name: str, producer: str) -> Any:
    import importlib

    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ImportError(f"the {producer} producer needs {name} ({error}): pip install 'bebr[vision]'") from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Loading takes a fraction of a second: no bar on the caller's terminal for it."""
    import importlib

    logging: Any = importlib.import_module("transformers.utils.logging")
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()
