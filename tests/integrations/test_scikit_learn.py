"""scikit-learn: its checks of estimators, and its own neighbours beside bebr's."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="needs scikit-learn: pip install 'bebr[scikit-learn]'")

from sklearn.base import clone
from sklearn.cluster import DBSCAN
from sklearn.neighbors import KNeighborsTransformer, NearestNeighbors
from sklearn.pipeline import make_pipeline

from bebr.integrations.scikit_learn import BebrNeighborsTransformer
from tests.conftest import recall


@pytest.fixture(scope="module", params=["euclidean", "cosine"])
def fitted(request, vectors) -> BebrNeighborsTransformer:
    return BebrNeighborsTransformer(n_neighbors=8, metric=request.param).fit(vectors[:600])


def test_neighbours_are_those_of_scikit_learn(fitted, vectors, queries):
    theirs = NearestNeighbors(n_neighbors=8, metric=fitted.metric).fit(vectors[:600])
    for asked in (queries, None):  # None: of the fitted rows, each without itself
        distances, rows = fitted.kneighbors(asked)
        wanted, wanted_rows = theirs.kneighbors(asked)
        assert distances.shape == wanted.shape and rows.dtype == np.int64
        assert recall(rows, wanted_rows) > 0.97
        np.testing.assert_allclose(distances[:, 0], wanted[:, 0], atol=2e-2)
    assert (fitted.kneighbors(return_distance=False) != np.arange(600)[:, None]).all()


def test_graphs_are_those_of_scikit_learn(fitted, vectors):
    theirs = KNeighborsTransformer(n_neighbors=8, metric=fitted.metric).fit(vectors[:600])
    ours, wanted = fitted.transform(vectors[:40]), theirs.transform(vectors[:40])
    assert ours.shape == wanted.shape and ours.nnz == wanted.nnz == 40 * 9
    joined = fitted.kneighbors_graph(vectors[:40], 3)
    assert joined.nnz == 120 and set(joined.data) == {1.0}


def test_it_is_a_step_of_a_pipeline(vectors):
    labels = make_pipeline(
        BebrNeighborsTransformer(n_neighbors=20, metric="cosine"), DBSCAN(eps=0.4, metric="precomputed")
    ).fit_predict(vectors[:600])
    assert labels.shape == (600,) and labels.max() >= 1


def test_lists_read_a_part_of_the_rows(vectors, queries):
    lists = BebrNeighborsTransformer(n_neighbors=5, nlist=16, nprobe=16).fit(vectors[:600])
    flat = BebrNeighborsTransformer(n_neighbors=5).fit(vectors[:600])
    assert recall(lists.kneighbors(queries)[1], flat.kneighbors(queries)[1]) > 0.97


def test_it_is_cloned_and_pickled_as_estimators_are(fitted, queries):
    import pickle

    assert clone(fitted).get_params() == fitted.get_params()
    again = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(again.kneighbors(queries)[1], fitted.kneighbors(queries)[1])


def test_wrong_arguments_are_named(vectors):
    with pytest.raises(ValueError, match="metric is 'manhattan': want one of 'cosine', 'euclidean'"):
        BebrNeighborsTransformer(metric="manhattan").fit(vectors[:50])
    with pytest.raises(ValueError, match="nprobe is 4, but nlist is None: there are no lists to be read"):
        BebrNeighborsTransformer(nprobe=4).fit(vectors[:50])
    with pytest.raises(ValueError, match="n_neighbors is 300: want 1 to 299, the number of other rows"):
        BebrNeighborsTransformer().fit(vectors[:300]).kneighbors(n_neighbors=300)
