"""What a collection is to be: the arguments of `create_collection`, checked alike by database and client."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import cast, get_args

from bebr.arrays import check_dim
from bebr.binarizer import Binarizer
from bebr.collection.checks import check_model, check_name, check_text_fields
from bebr.collection.protocol import TARGET_RECALL, AlreadyExists, IndexKind, Keep, Metric, ModelInfo
from bebr.index import check_integer
from bebr.index.raw import RawType

_MOST_BYTES = (1 << 31) - 1


@dataclass(frozen=True)
class Creation:
    """`bz`: its model, or None: one that has seen no data, for vectors of `dim` dimensions and `metric` in codes of
    `bytes_per_vector`. `keep`: what vectors are kept as. `retrain`: whether it trains itself as rows come. `text`: the
    payload fields that are searched by their words. `index`: what segments of many rows are; `target_recall`: how much
    searches of these find of what a scan would."""

    name: str
    bz: Binarizer | None
    dim: int
    metric: Metric
    bytes_per_vector: int
    keep: RawType | None
    retrain: bool
    text: tuple[str, ...] = ()
    index: IndexKind = "auto"
    target_recall: float = TARGET_RECALL


def check_creation(
    name: str,
    bz: Binarizer | None,
    dim: int | None,
    metric: Metric | None,
    bytes_per_vector: int | None,
    keep: Keep,
    retrain: bool | None,
    text: str | Sequence[str] | None = None,
    index: IndexKind = "auto",
    target_recall: float = TARGET_RECALL,
) -> Creation:
    """ValueError, which names the argument, unless there is either a model or a `dim`, and all fit each other."""
    check_name(name)
    fields_of_text = check_text_fields(text)
    if index not in get_args(IndexKind):
        raise ValueError(f"index is {index!r}: want one of {', '.join(map(repr, get_args(IndexKind)))}")
    if isinstance(target_recall, bool) or not isinstance(target_recall, float | int) or not 0 < target_recall <= 1:
        raise ValueError(f"target_recall is {target_recall!r}: want above 0, at most 1")
    if keep is not None and keep != "auto" and keep not in get_args(RawType):
        raise ValueError(f"keep is {keep!r}: want None, 'float16' or 'int8'")
    if retrain is not None and not isinstance(retrain, bool):
        raise ValueError(f"retrain is {retrain!r}: want True or False")
    if bz is None and dim is not None:
        made = Creation(
            *(name, None, check_dim(dim, "dim"), _metric(metric), _size(bytes_per_vector, dim)),
            keep="float16" if keep == "auto" else keep,
            retrain=keep is not None if retrain is None else retrain,
            text=fields_of_text,
        )
    else:
        for what, given in (("dim", dim), ("metric", metric), ("bytes_per_vector", bytes_per_vector)):
            if given is not None:
                raise ValueError(f"{what} is {given!r} beside a model, which has its own: want one of them")
        if bz is None:
            raise ValueError("bz is None: want a bebr.Binarizer, as bebr.train makes it, or dim= of the vectors")
        bz = check_model(bz)
        fields = (name, bz, bz.input_dim, cast("Metric", bz.metric), bz.bytes_per_vector)
        made = Creation(*fields, keep=None if keep == "auto" else keep, retrain=bool(retrain), text=fields_of_text)
    if made.retrain and made.keep is None:
        raise ValueError("retrain is True, but no vectors are kept to train on: want keep='float16' or 'int8'")
    if made.keep is not None and bz is not None and not bz.has_decoder:
        raise ValueError(f"keep is {keep!r}: this binarizer has no decoder, so its vectors have no float scores")
    return replace(made, index=index, target_recall=float(target_recall))


def check_existing(model: ModelInfo, text: Sequence[str], new: Creation) -> None:
    """AlreadyExists unless a collection of this model and these fields of text is what was to be created: of the same
    model where one was given, else of the same dimensions and metric, and of the same fields."""
    if new.bz is not None:
        same, wanted = model.digest == new.bz.digest, f"model {new.bz.digest}"
    else:
        same = (model.input_dim, model.metric) == (new.dim, new.metric)
        wanted = f"{new.dim} dimensions and metric {new.metric!r}"
    if sorted(text) != sorted(new.text):
        raise AlreadyExists(
            f"collection {new.name!r} already exists with the text fields {list(text)}: want {list(new.text)}"
        )
    if not same:
        raise AlreadyExists(
            f"collection {new.name!r} already exists with model {model.digest}, {model.input_dim} dimensions and "
            f"metric {model.metric!r}: want {wanted}"
        )


def _metric(metric: Metric | None) -> Metric:
    if metric is None:
        return "cosine"
    if metric not in get_args(Metric):
        raise ValueError(f"metric is {metric!r}: want one of {', '.join(get_args(Metric))}")
    return metric


def _size(bytes_per_vector: int | None, dim: int) -> int:
    """By default two bits a dimension and the factor."""
    if bytes_per_vector is None:
        return 2 + 2 * -(-dim // 8)
    return check_integer("bytes_per_vector", bytes_per_vector, _MOST_BYTES)
