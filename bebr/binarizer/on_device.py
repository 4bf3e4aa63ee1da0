"""Encoding on a device: what :meth:`bebr.Binarizer.to` returns (docs/gpu.md)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from bebr.arrays import Floats, as_vectors
from bebr.binarizer.codes import Codes
from bebr.binarizer.config import INPUT_ADAPTER, OPTIMIZE_GRAM, BinarizerConfig
from bebr.binarizer.factors import Factors
from bebr.binarizer.parts import Layers
from bebr.device import extension_of, on_a_device

FactorsOf = Callable[[NDArray[np.uint8], dict[str, Floats], Floats], Factors]
"""Stored factors of planes, of the squared norms [n] of what each decoder (by name) makes of them, and of the vectors'
own norms [n], which are ones unless the metric is ``"ip"``."""


def decoders_of_factors(settings: BinarizerConfig, tensors: Mapping[str, Floats]) -> dict[str, int]:
    """Decoders whose norms the stored factors are made of, and how many of the first planes each decodes."""
    wanted = {"decoder": len(settings.widths)} if settings.factor != "none" else {}
    wanted |= {"stage": 1} if settings.stage_factor else {}
    return {name: planes for name, planes in wanted.items() if f"{name}.weight" in tensors}


class _Encoder(Protocol):
    """The extension's (csrc/bind/cuda_encode.cpp)."""

    def encode(self, x: Floats, optimize: bool) -> tuple[NDArray[np.uint8], Floats, Floats]: ...
    def encode_there(self, x: Any, optimize: bool) -> tuple[NDArray[np.uint8], Floats, Floats]: ...


class DeviceEncoder:
    """Encodes as a binarizer does, on a device. Immutable. Threads: any number, whose calls wait for one another."""

    def __init__(
        self,
        device: str,
        settings: BinarizerConfig,
        tensors: Mapping[str, Floats],
        networks: Sequence[Layers],
        adapter: Layers,
        factors_of: FactorsOf,
    ) -> None:
        """tensors: those of a binarizer, by name. networks, adapter: their layers, of the encoder in the order of
        ``core.Encoder``, of the input adapter none where there is none. factors_of: what makes its factors. Errors of
        :meth:`bebr.Binarizer.to`."""
        extension, number = extension_of(device)
        self._device, self._input_dim, self._factors_of = device, settings.input_dim, factors_of
        self._decoders, self._by_norm = decoders_of_factors(settings, tensors), settings.metric == "ip"

        def decoder(name: str) -> tuple[Floats, Floats]:
            weight = tensors[f"{name}.weight"]
            return weight, tensors.get(f"{name}.bias", np.zeros(weight.shape[1], np.float32))

        made = extension.Encoder(
            number,
            settings.architecture,
            list(settings.widths),
            list(networks),
            settings.metric == "cosine",
            adapter,
            settings.skip(INPUT_ADAPTER) if adapter else 0.0,
            tensors.get(OPTIMIZE_GRAM),
            settings.sweeps,
            settings.tries,
            [(*decoder(name), planes) for name, planes in self._decoders.items()],
        )
        self._encoder = cast("_Encoder", made)

    @property
    def device(self) -> str:
        """Where it encodes, such as ``"cuda:1"``."""
        return self._device

    def encode(self, x: Any, *, optimize: bool = True) -> Codes:
        """Codes of vectors ``x`` float32[n, d], as :meth:`bebr.Binarizer.encode` makes them, to the bit.

        x: an array of the host's; or one of this device's, float32 or float16, that shows itself by
        ``__cuda_array_interface__`` or DLPack (torch, cupy, JAX): it is read where it lies. Codes come back in the
        host's memory. optimize: as of :meth:`bebr.Binarizer.encode`.

        ``ValueError`` names what ``x`` has and what is wanted: dtype, shape, strides, device, a row that is not
        finite. :class:`LimitExceeded` where the device's memory is short.
        """
        if on_a_device(x):
            planes, squared, lengths = self._encoder.encode_there(x, optimize)
        else:
            planes, squared, lengths = self._encoder.encode(as_vectors(x, "x", self._input_dim), optimize)
        norms = dict(zip(self._decoders, squared, strict=True))
        return Codes(planes, self._factors_of(planes, norms, lengths if self._by_norm else np.ones_like(lengths)))
