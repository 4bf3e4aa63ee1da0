"""A model's configuration from anywhere: what is wrong in it is named, whatever its type."""

from __future__ import annotations

import copy

import pytest

import bebr
from bebr.training.compat.compatible import make_compatible

BAD = [None, "x", 1.5, -1, 10**30, [], {}, [1], True, float("nan"), float("inf")]
# Notes on how a model was made, which nothing reads.
NOTES = {"seed", "heldout"}
SQUARES = {"factor_scale", "factor_offset"}  # of lengths in any unit
NUMBERS = {"margin", *SQUARES}


@pytest.fixture(scope="module")
def model(vectors) -> bebr.Binarizer:
    """With every key that a config may have."""
    old = bebr.train(vectors[:1000], widths=[48], metric="cosine", seed=0)
    new = bebr.train(vectors[:1000], widths=[48, 16], metric="cosine", factor_bytes=1, seed=1)
    return make_compatible(new, old, vectors[:1000], vectors[:1000], epochs=0)


def keys(config: dict, path: tuple[str, ...] = ()):
    for key, value in config.items():
        yield (*path, key)
        if isinstance(value, dict):
            yield from keys(value, (*path, key))


def test_values_of_a_wrong_type_are_named(model, vectors):
    """Each key in turn gets values of other types: the model is refused in words, or works."""
    refused = 0
    for path in keys(model.config):
        for value in BAD:
            config = copy.deepcopy(model.config)
            inner = config
            for key in path[:-1]:
                inner = inner[key]
            inner[path[-1]] = value
            try:
                changed = bebr.Binarizer.from_tensors(model.tensors, config)
                changed.encode(vectors[:2])
                changed.to_bytes()
            except (ValueError, bebr.CorruptFile) as error:
                assert path[-1] in str(error) or path[0] in str(error), (path, value, error)
                refused += 1
            else:
                number = path[-1] in NUMBERS and value in (1.5, -1)
                number |= path[-1] in SQUARES and value == 10**30
                assert number or value is None or NOTES & {*path}, (path, value)
    assert refused > 200


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("widths", 8, "widths is 8: want a list"),
        ("widths", [], "widths is []: want a list"),
        ("input_dim", "64", "input_dim is '64': want a whole number"),
        ("factor_scale", 0, "factor_scale is 0: want a finite number other than 0"),
        ("refine", {"tries": 1}, "refine has no 'sweeps'"),
        ("refine", {"sweeps": 10**9}, "refine.sweeps is 1000000000: want a whole number"),
        ("compatible", [1], "compatible is [1]: want an object"),
        ("format", 2, "format 2: this build reads 1"),
    ],
)
def test_the_words(model, key, value, words):
    with pytest.raises((ValueError, bebr.CorruptFile)) as error:
        bebr.Binarizer.from_tensors(model.tensors, model.config | {key: value})
    assert words in str(error.value)
