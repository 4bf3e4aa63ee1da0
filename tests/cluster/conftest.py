from __future__ import annotations

import itertools

import pytest

import bebr
from tests.cluster.running import loop
from tests.conftest import model_of
from tests.serve.rows import stretched


@pytest.fixture(scope="session")
def bz(vectors) -> bebr.Binarizer:
    return model_of(vectors, widths=[48, 16])


@pytest.fixture(scope="session")
def any_bz(vectors) -> bebr.Binarizer:
    """One whose small scores are the best; those of `bz` are the others."""
    return model_of(stretched(vectors), widths=[48, 16], metric="l2", factor_bytes=2)


@pytest.fixture(scope="module")
def here():
    """Where leaves and roots run."""
    with loop() as made:
        yield made


@pytest.fixture(scope="module")
def db(here, tmp_path_factory):
    """A root over two leaves with a folder each, by which collections are split into four shards."""
    folder = tmp_path_factory.mktemp("leaves")
    with bebr.open(folder / "even") as even, bebr.open(folder / "odd") as odd:
        leaves = [here.leaf(even, "0", "2"), here.leaf(odd, "1", "3")]
        root = here.root(leaves, shards=4)
        with bebr.connect(root) as client:
            yield client
        here.stop(root)
        for leaf in leaves:
            here.stop(leaf)


_names = (f"split-{i}" for i in itertools.count())


@pytest.fixture
def name():
    return next(_names)
