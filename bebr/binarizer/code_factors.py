"""The factors that a model stores beside its codes: computed from what codes decode to, stored, read back."""

from __future__ import annotations

from typing import cast

import numpy as np
from numpy.typing import NDArray

from bebr import core
from bebr.arrays import Floats
from bebr.binarizer.codes import Codes
from bebr.binarizer.config import BinarizerConfig
from bebr.binarizer.factors import Factors, factor_dtype, stored

_LARGEST_HALF = 65504.0


class CodeFactors:
    """Of a code's F factors the first is that of all planes, the last that of the sign plane, where the model has
    these (docs/method.md)."""

    def __init__(self, settings: BinarizerConfig, decoder: core.Decoder | None, stage: core.Decoder | None) -> None:
        self._settings, self._decoder, self._stage = settings, decoder, stage

    def exact(self, vectors: Floats, planes: NDArray[np.uint8]) -> Floats:
        """Factors float32[n, F] before they are stored. vectors: as the code sees them."""
        norms = np.ones(len(vectors), np.float32)
        if self._settings.metric == "ip":
            with np.errstate(over="ignore"):  # `stored` refuses what is no float32
                norms = np.linalg.norm(vectors, axis=1)
        return self._from_norms(planes, norms, {})

    def of_device(self, planes: NDArray[np.uint8], squared: dict[str, Floats], norms: Floats) -> Factors:
        """Stored factors of planes that a device made: :data:`bebr.binarizer.on_device.FactorsOf`."""
        return self.stored(self._from_norms(planes, norms, squared))

    def stored(self, exact: Floats) -> Factors:
        """Factors float32[n, F] in ``factor_bytes``."""
        size, codes = self._settings.factor_bytes, self._settings.byte_codes()
        factors = np.empty(exact.shape, factor_dtype(size))
        for i in range(exact.shape[1]):
            factors[:, i] = stored(exact[:, i], size, codes[i] if codes else None)
        return cast("Factors", factors)

    def values(self, codes: Codes) -> Floats:
        """The values of the stored factors of ``codes``: float32[n, F]."""
        self.check(codes)
        byte_codes = self._settings.byte_codes()
        if not byte_codes:
            return codes.factors.astype(np.float32)
        columns = [code.values[codes.factors[:, i]] for i, code in enumerate(byte_codes)]
        return np.stack(columns, axis=1)

    def check(self, codes: Codes) -> None:
        """``ValueError`` unless ``codes`` have the bytes and factors of this model's."""
        if not isinstance(codes, Codes):
            raise ValueError(f"codes is of type {type(codes).__name__}: want Codes, as Binarizer.encode makes them")
        settings = self._settings
        size, count, factors = settings.code_bytes, settings.factor_count, codes.factors
        if codes.planes.shape[1:] != (size,) or factors.shape != (len(codes), count):
            raise ValueError(
                f"codes have {codes.planes.shape[1:]} code bytes and {factors.shape[1:]} factors: "
                f"want ({size},) and ({count},)"
            )
        wanted = factor_dtype(settings.factor_bytes)
        if factors.dtype != wanted:
            raise ValueError(
                f"codes have factors of {factors.dtype}: want {wanted}, of this binarizer's factor_bytes "
                f"{settings.factor_bytes}"
            )

    def _from_norms(self, planes: NDArray[np.uint8], norms: Floats, known: dict[str, Floats]) -> Floats:
        """norms: of the vectors. known: squared norms of what a decoder makes of the planes, where these are known."""
        factors = np.empty((len(planes), self._settings.factor_count), np.float32)
        if self._settings.factor != "none":
            squared = self._squared(self._decoder, planes) if "decoder" not in known else known["decoder"]
            factors[:, 0] = self._factor(squared, norms)
        if self._settings.stage_factor:
            signs = planes[:, : self._settings.dims // 8]
            squared = self._squared(self._stage, signs) if "stage" not in known else known["stage"]
            factors[:, -1] = self._factor(squared, norms)
        return factors

    def _squared(self, decoder: core.Decoder | None, planes: NDArray[np.uint8]) -> Floats:
        if decoder is None:
            return core.code_norms(planes, list(self._settings.widths))
        return decoder.norms(np.ascontiguousarray(planes))

    def _factor(self, squared: Floats, norms: Floats) -> Floats:
        settings = self._settings
        if settings.factor == "sub":
            return np.asarray(settings.factor_scale * (squared - settings.factor_offset), np.float32)
        # A code that decodes to zero has no direction: factor 0, so it scores 0.
        factor = np.where(squared > 0, norms / np.sqrt(np.where(squared > 0, squared, 1)), 0)
        # Of unit vectors, one that decodes to nearly nothing has no direction worth a larger factor.
        return np.asarray(np.minimum(factor, _LARGEST_HALF) if settings.metric == "cosine" else factor, np.float32)
