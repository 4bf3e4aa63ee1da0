"""The binarizer: float vectors to codes of a few +-1 planes, and back (docs/method.md)."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bebr import core
from bebr.arrays import Floats, Ids, as_vectors, normalized
from bebr.attributes import KnownAttributes
from bebr.binarizer import model_file
from bebr.binarizer.code_factors import CodeFactors
from bebr.binarizer.codes import Codes, GivenQueries, PreparedQueries, Query
from bebr.binarizer.config import INPUT_ADAPTER, OPTIMIZE_GRAM, QUERY_ADAPTER, BinarizerConfig
from bebr.binarizer.maps import BRIDGE, UPGRADE, Map, maps
from bebr.binarizer.on_device import DeviceEncoder
from bebr.binarizer.parts import Parts
from bebr.binarizer.scores import Scores
from bebr.errors import CorruptFile, IncompatibleModel

_held: WeakValueDictionary[str, Binarizer] = WeakValueDictionary()  # those made from bytes, by digest of these
_holding = threading.Lock()


class Binarizer(KnownAttributes):
    """A model that turns vectors float32[d] into codes. Immutable.

    Made by :func:`bebr.train`, :func:`bebr.untrained`, :meth:`load` or :meth:`from_tensors`.

    >>> bz = bebr.train(x, bytes_per_vector=52)
    >>> codes = bz.encode(x)
    >>> bz.save("model.safetensors")
    """

    def __init__(self, tensors: Mapping[str, NDArray[Any]], config: Mapping[str, Any]) -> None:
        self._tensors = {k: np.ascontiguousarray(v, dtype=np.float32) for k, v in sorted(tensors.items())}
        self._settings = BinarizerConfig.parse(config, self._tensors)
        self._parts = parts = Parts(self._tensors, self._settings)
        self._adapter = parts.adapter(INPUT_ADAPTER, self.input_dim)
        query_adapter = parts.adapter(QUERY_ADAPTER, self.query_dim) or self._adapter
        self._encoder = core.Encoder(
            self.architecture,
            list(self.widths),
            parts.encoder(),
            self.metric == "cosine",
            self._tensors.get(OPTIMIZE_GRAM),
            self.settings.sweeps,
            self.settings.tries,
        )
        if self._encoder.input_dim != self.inner_dim:
            raise ValueError(f"encoder.0.weight takes {self._encoder.input_dim} inputs: want {self.inner_dim}")
        self._decoder = parts.decoder("decoder", list(self.widths), self.inner_dim)
        self._stage = parts.decoder("stage", [self.dims], self.inner_dim)
        self._factors = CodeFactors(self._settings, self._decoder, self._stage)
        self._scores = Scores(self._settings)
        self._queries = core.QueryModel(
            self.metric,
            self._encoder,
            self._decoder,
            self._stage,
            None if query_adapter is None else query_adapter.network,
            0.0 if query_adapter is None else query_adapter.skip,
            self.settings.factor_scale,
            self.settings.factor_offset,
        )
        self._maps = maps(self.settings.entries, set(self._tensors), parts.stack, self.inner_dim)

    @staticmethod
    def from_tensors(tensors: Mapping[str, NDArray[Any]], config: Mapping[str, Any]) -> Binarizer:
        """A binarizer from its tensors and its config; ``ValueError`` names the tensor or key at fault.

        Tensors (float32): ``encoder.{i}.weight`` [out, in], ``encoder.{i}.bias``; for ``architecture="recurrent"`` also
        ``reconstruct.{t}.{i}.*`` and ``residual.{t}.{i}.*``; ``decoder.weight`` [m, d], ``decoder.bias`` [d]; optional
        ``stage.weight`` [m, d], ``stage.bias`` [d]. Without a decoder, scores are taken in code space (the paper's).

        ``refine.gram`` [m, m] with config ``refine: {"sweeps": n, "tries": n}``: codes are optimized by coordinate
        descent in this metric (csrc/binarizer/descent.h). ``front.{i}.*`` with config ``front: {"skip": s}``: the input
        adapter, a map before everything else, x -> s x + network(x), scaled to unit length again for cosine;
        ``query_front`` the same for queries only. What follows an input adapter has its output dimension as d.

        Config ``factor_bytes``: 1, 2 (if absent) or 4. One byte comes with ``factor_code`` and, for the stage's factor,
        ``stage_factor_code``: {"low", "step"}, :class:`bebr.binarizer.factors.ByteCode`.

        ``bridge.{digest}.*`` and ``lift.{digest}.*`` (bebr/binarizer/maps.py) with config ``compatible: {digest:
        {...}}``, an entry for each older model whose codes this one's queries may search.
        """
        return Binarizer(tensors, config)

    def _enter(self, x: Floats) -> Floats:
        """Documents as the code sees them: through the input adapter, if there is one."""
        return x if self._adapter is None else self._adapter(x)

    @property
    def settings(self) -> BinarizerConfig:
        """The configuration: :class:`bebr.binarizer.config.BinarizerConfig`."""
        return self._settings

    @property
    def config(self) -> dict[str, Any]:
        """A copy of the config that the file carries."""
        return self.settings.to_json()

    @property
    def architecture(self) -> str:
        """``"linear"`` or ``"recurrent"``, the paper's network (arXiv 2302.08714)."""
        return self.settings.architecture

    @property
    def metric(self) -> str:
        """``"cosine"``, ``"ip"`` or ``"l2"``."""
        return self.settings.metric

    @property
    def input_dim(self) -> int:
        """d, the dimensions of the vectors it takes."""
        return self.settings.input_dim

    @property
    def query_dim(self) -> int:
        """Dimensions of a query; ``input_dim`` unless queries have an input adapter of their own."""
        return self.settings.query_dim

    @property
    def widths(self) -> tuple[int, ...]:
        """Width of each plane, in bits; the sum is the bits of a code."""
        return self.settings.widths

    @property
    def dims(self) -> int:
        """m, the dimensions of a code: the width of the sign plane."""
        return self.settings.dims

    @property
    def bytes_per_vector(self) -> int:
        """Bytes stored for one vector, factors included, ids not."""
        return self.settings.bytes_per_vector

    @property
    def compatible_with(self) -> tuple[str, ...]:
        """Digests of the older models whose codes this model's queries may search, its own not among them."""
        return self.settings.compatible_with

    @property
    def inner_dim(self) -> int:
        """Dimensions that codes decode to: ``input_dim`` without an input adapter, else its outputs."""
        return self.input_dim if self._adapter is None else self._adapter.output_dim

    @property
    def has_decoder(self) -> bool:
        """Whether codes can be decoded to vectors. Without a decoder scores are taken in code space (the paper's)."""
        return self._decoder is not None

    @property
    def has_adapter(self) -> bool:
        """Whether vectors pass a network before they are coded, and so are scored in another space than their own."""
        return self._adapter is not None

    @property
    def tensors(self) -> dict[str, Floats]:
        """Copies of the tensors that the file carries, by name (:meth:`from_tensors`)."""
        return {name: value.copy() for name, value in self._tensors.items()}

    @cached_property
    def digest(self) -> str:
        """16 hex digits that identify this model: SHA-256 of its file."""
        return model_file.digest_of(self.to_bytes())

    def __reduce__(self) -> tuple[Any, ...]:
        return Binarizer.from_bytes, (self.to_bytes(),)

    def __repr__(self) -> str:
        bits = "+".join(map(str, self.widths))
        return (
            f"Binarizer({self.architecture}, {self.input_dim} -> {bits} bits, {self.metric}, "
            f"{self.bytes_per_vector} bytes/vector, {self.digest})"
        )

    def encode(self, x: ArrayLike, *, bf16: bool = False, optimize: bool = True) -> Codes:
        """Codes of vectors ``x`` float32[n, d].

        bf16: use AMX bfloat16 arithmetic; ``ValueError`` if the machine has none.
        optimize: False: the plain forward pass, without the coordinate descent that the model was trained with. It is
            several times as fast and recalls less.
        """
        return self._encode(as_vectors(x, "x", self.input_dim), bf16, optimize)

    def _encode(self, x: Floats, bf16: bool = False, optimize: bool = True) -> Codes:
        """The same of vectors that were checked."""
        vectors = self._enter(x)
        planes = self._encoder.encode(vectors, bf16, optimize)
        return Codes(planes, self._factors.stored(self.exact_factors(vectors, planes)))

    def to(self, device: str) -> Binarizer | DeviceEncoder:
        """What encodes on ``device``, such as ``"cuda:1"``: ``bz.to("cuda").encode(x)``. ``"cpu"``: this binarizer.

        :class:`DeviceUnavailable` says why the device cannot be used; :class:`LimitExceeded`: its memory is short.
        """
        if device == "cpu":
            return self
        adapter = [] if self._adapter is None else self._parts.stack(INPUT_ADAPTER)
        networks, factors = self._parts.encoder(), self._factors.of_device
        return DeviceEncoder(device, self.settings, self._tensors, networks, adapter, factors)

    def vectors(self, x: ArrayLike) -> Floats:
        """``x`` float32[n, d] in the space that the engine scores in, float32[n, inner_dim].

        It is the decoder's, and there of unit length for cosine; without a decoder it is that of code values. Centroids
        of an IVF index live there.
        """
        vectors = self._enter(as_vectors(x, "x", self.input_dim))
        if self._decoder is None:
            return core.unpack(self._encoder.encode(vectors), list(self.widths))
        return normalized(vectors) if self.metric == "cosine" else vectors

    def code_values(self, codes: Codes, planes: int | None = None) -> Floats:
        """What ``codes`` stand for in code space, float32[n, m]: sums of ±1, ±1/2, ... over all planes, or over so many
        of the first."""
        self._check_codes(codes)
        if planes is not None and not 1 <= planes <= len(self.widths):
            raise ValueError(f"planes is {planes}: want 1 to {len(self.widths)}")
        widths = list(self.widths[:planes])
        return core.unpack(np.ascontiguousarray(codes.planes[:, : sum(widths) // 8]), widths)

    def reconstructed(self, codes: Codes) -> Floats:
        """Reconstructions of ``codes`` in that space, float32[n, inner_dim]; for cosine of unit length."""
        if self._decoder is None:
            return self.code_values(codes)
        x = self.decode(codes)
        return normalized(x) if self.metric == "cosine" else x

    def decode(self, codes: Codes) -> Floats:
        """Reconstructions float32[n, inner_dim] of codes: mu + A v. ``ValueError`` if there is no decoder."""
        self._check_codes(codes)
        return self._need_decoder("decode").decode(codes.planes)

    def factor_values(self, codes: Codes) -> Floats:
        """The values of the stored factors of ``codes``: float32[n, F]."""
        return self._factors.values(codes)

    def exact_factors(self, vectors: Floats, planes: NDArray[np.uint8]) -> Floats:
        """Factors float32[n, F] before they are stored in ``factor_bytes``. vectors: as the code sees them."""
        return self._factors.exact(vectors, planes)

    def prepare(self, queries: ArrayLike, query: Query = "float") -> PreparedQueries:
        """Queries float32[n, d] in code space. ``query="float"`` is ADC, ``"code"`` SDC: the query is binarized too."""
        prepared = self.prepare_vectors(self._query_vectors(queries, query))
        if query == "float" or self._decoder is None:
            return prepared
        return replace(prepared, exact=self._query_vectors(queries, "float"))

    def _query_vectors(self, queries: ArrayLike, query: Query) -> Floats:
        """Queries as float32[n, inner_dim], the space of the decoder; without a decoder, code values float32[n, m]."""
        return self._queries.vectors(self._check_queries(queries, query), query == "code")

    def _check_queries(self, queries: ArrayLike, query: Query) -> Floats:
        """Queries as float32[n, query_dim], of which codes can be scored in this way; else ``ValueError``."""
        if query not in ("float", "code"):
            raise ValueError(f"query is {query!r}: want 'float' or 'code'")
        q = as_vectors(queries, "queries", self.query_dim, allow_empty=False)
        if self._decoder is None and query == "float":
            raise ValueError("this binarizer has no decoder, so query='float' has no meaning: use query='code'")
        return q

    def prepare_vectors(self, q: Floats) -> PreparedQueries:
        """The later half of :meth:`prepare`: queries float32[n, inner_dim] in the space of :meth:`vectors`."""
        q = np.ascontiguousarray(q)
        y, base, offset = self._queries.project(q)
        stage = None if self._stage is None else self._project_stage
        return PreparedQueries(y, base, stage, offset, q, exact=None if self._decoder is None else q)

    def _project_stage(self, q: Floats) -> tuple[Floats, Floats]:
        """A method of this class, for queries that are pickled bring it along."""
        return self._queries.project_stage(q)

    @property
    def query_model(self) -> core.QueryModel:
        """What prepares queries, for searches that are no Python."""
        return self._queries

    def metric_scores(self, scores: Floats, prepared: PreparedQueries) -> Floats:
        """Scores of the engine, float32[n, k], in the metric's own unit: similarity, or squared distance for l2."""
        return self._scores.of_engine(scores, prepared.offset[:, None], prepared.calibration)

    def range_scores(self, scores: Floats, offsets: Ids, prepared: PreparedQueries) -> Floats:
        """The same of a ragged result: scores float32[total], those of query i between offsets i and i + 1."""
        return self._scores.of_engine(scores, np.repeat(prepared.offset, np.diff(offsets)), prepared.calibration)

    def engine_min_scores(self, radius: float, prepared: PreparedQueries) -> Floats:
        """The engine's score that a row must lie above to be within ``radius`` of each query, float32[n].

        radius: in the metric's own unit; ``ValueError`` unless it is a number.
        """
        return self._scores.to_engine(radius, prepared)

    def _map(self, kind: str, old: Binarizer) -> Map:
        if old.digest not in self.compatible_with:
            others = ", ".join(self.compatible_with) or "no other model"
            raise IncompatibleModel(
                f"model {self.digest} is not compatible with {old.digest}, which made these codes, but with {others}: "
                "train it with compatible_with= that model, or encode the documents with this one"
            )
        return self._maps[kind, old.digest]

    def prepare_for(self, old: Binarizer, queries: ArrayLike, query: Query = "float") -> PreparedQueries:
        """Queries of this model, float32[n, query_dim], ready to score codes of ``old`` (backward-compatible training,
        docs/method.md). ``"code"``: this model's own code of the query is decoded first.

        Scores come out calibrated: comparable with those of this model's own codes. :class:`IncompatibleModel` says
        which models it was trained to be compatible with.
        """
        if old.digest == self.digest:
            return self.prepare(queries, query)
        q = self._map(BRIDGE, old)(self._query_vectors(queries, query))
        if old.metric == "cosine" and old._decoder is not None:
            q = normalized(q)
        a, b = self.settings.entries["compatible"][old.digest]["calibration"][query]
        return replace(old.prepare_vectors(q), calibration=(float(a), float(b)), exact=None)

    def _given(self, old: Binarizer, queries: ArrayLike, query: Query) -> PreparedQueries:
        """:meth:`prepare_for` for one search, which may do it itself. What is wrong with the queries is said here."""
        if old is not self and old.digest != self.digest:
            return self.prepare_for(old, queries, query)
        x = self._check_queries(queries, query)
        return GivenQueries(self._queries, x, query == "code", lambda: self.prepare(x, query))

    def upgrade(self, codes: Codes, old: Binarizer) -> Codes:
        """Codes of ``old`` as codes of this model, without the vectors they came from: decoded, mapped, encoded.

        For documents whose vectors are gone; recall lies below that of codes of the new vectors themselves.
        :class:`IncompatibleModel` as :meth:`prepare_for`.
        """
        vectors = self._map(UPGRADE, old)(old._scored(codes))
        if self.metric == "cosine":
            vectors = normalized(vectors)
        planes = self._encoder.encode(vectors)
        return Codes(planes, self._factors.stored(self.exact_factors(vectors, planes)))

    def _scored(self, codes: Codes) -> Floats:
        """What the engine takes inner products with, float32[n, inner_dim] (code space without a decoder): the
        reconstruction, scaled by a factor that multiplies."""
        vectors = self.code_values(codes) if self._decoder is None else self.decode(codes)
        if self.settings.factor != "mul":
            return vectors
        return np.asarray(vectors * self.factor_values(codes)[:, :1], np.float32)

    def code_space(self) -> tuple[Floats, Floats, float]:
        """What compares codes with each other: the diagonal of A^T A and A^T mu, float32[m], and <mu, mu>.

        Ones and zeros without a decoder: A = I in code space.
        """
        weight, bias = self._tensors.get("decoder.weight"), self._tensors.get("decoder.bias")
        if weight is None:
            return np.ones(self.dims, np.float32), np.zeros(self.dims, np.float32), 0.0
        mu = np.zeros(weight.shape[1], np.float32) if bias is None else bias
        return np.einsum("ij,ij->i", weight, weight), weight @ mu, float(mu @ mu)

    def _need_decoder(self, verb: str) -> core.Decoder:
        if self._decoder is None:
            raise ValueError(f"this binarizer has no decoder and cannot {verb}")
        return self._decoder

    def _check_codes(self, codes: Codes) -> None:
        self._factors.check(codes)

    def to_bytes(self) -> bytes:
        """The safetensors file as bytes."""
        return model_file.written(self._tensors, self.settings.entries)

    @staticmethod
    def from_bytes(data: bytes, source: str = "binarizer") -> Binarizer:
        """The inverse of :meth:`to_bytes`; ``CorruptFile`` names ``source``. The same bytes give the same object for as
        long as somebody holds it: a model exists once in a process."""
        known = Binarizer.held(digest := model_file.digest_of(data))
        if known is not None:
            return known
        tensors, config = model_file.read(data, source)
        try:
            model = Binarizer(tensors, config)
        except (CorruptFile, ValueError, TypeError, KeyError, AttributeError, OverflowError) as e:
            raise CorruptFile(f"{source}: not a binarizer that this version of bebr can use ({e})") from e
        with _holding:
            return _held.setdefault(digest, model)

    @staticmethod
    def held(digest: str) -> Binarizer | None:
        """The model with this digest that :meth:`from_bytes` made, if somebody holds it."""
        return _held.get(digest)

    def save(self, path: str | Path) -> None:
        """Write a safetensors file; the old file stays until the new one is whole."""
        from bebr.files import write_atomically

        write_atomically(Path(path), self.to_bytes())

    @staticmethod
    def load(path: str | Path) -> Binarizer:
        """Read a file written by :meth:`save`. ``FileNotFoundError``; ``CorruptFile`` names the path."""
        return Binarizer.from_bytes(Path(path).read_bytes(), str(path))
