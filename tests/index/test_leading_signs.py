"""A single query over many rows reads the signs of its leading dims alone, where the others hardly tell rows apart
(docs/experiments/scan-details.md). It keeps a third more rows, and finds as much of the answer."""

from __future__ import annotations

import numpy as np
import pytest

import bebr
from bebr.index.segments import SegmentView, StopFlag, search_segments
from tests.conftest import model_of
from tests.isas import answers

ROWS, QUERIES, DIM, K = 20_000, 150, 256, 10
TIMES = 2  # rows kept, as a multiple of K: reading fewer signs pays from few rows on where few are kept
LED = TIMES * K + -(-TIMES * K // 3)  # kept of signs that are read in part


class Data:
    """Variances that fall as 1 / i^power, in codes of three planes, the first of which has its own decoder."""

    def __init__(self, power: float) -> None:
        rng = np.random.default_rng(1)
        scale = np.arange(1, DIM + 1, dtype=np.float32) ** (-power / 2)
        rows, self.queries = (rng.standard_normal((n, DIM), np.float32) * scale for n in (ROWS, QUERIES))
        self.model = model_of(rows[:3000], widths=[256, 192, 96], stage_factor=True)
        self.codes = self.model.encode(rows)
        self.index = bebr.FlatIndex(self.model)
        self.index.add_codes(self.codes, np.arange(ROWS))
        self.prepared = self.model.prepare(self.queries)
        self.exact = self.index.search(self.queries, K, exact=True).ids

    def kept_rows(self) -> float:
        """Of a search for each query alone, on average."""
        flag = StopFlag()
        for q in self.queries:
            search_segments(
                [SegmentView(self.index)], self.model, self.model.prepare(q[None]), K, oversampling=TIMES, stop=flag
            )
        return flag.survivors / QUERIES

    def found(self) -> float:
        """Of the exact answer, by searches for each query alone."""
        ids = [self.index.search(q, K, oversampling=TIMES).ids[0] for q in self.queries]
        return np.mean([np.isin(want, some) for want, some in zip(self.exact, ids, strict=True)])

    def found_by_all_signs(self) -> float:
        """Of the exact answer, among the best by the sign plane in numpy."""
        bits = np.unpackbits(self.codes.planes[:, : DIM // 8], axis=1, bitorder="little")
        y, base = self.prepared.stage_queries(True)
        scores = base[:, None] + y @ (2 * bits.astype(np.float32) - 1).T
        scores *= self.model.factor_values(self.codes)[:, -1]
        best = np.argpartition(-scores, TIMES * K)[:, : TIMES * K]
        return np.mean([np.isin(want, some) for want, some in zip(self.exact, best, strict=True)])


@pytest.fixture(scope="module")
def falling() -> Data:
    return Data(1.8)


def test_leading_signs_find_as_much_as_all_signs(falling):
    assert falling.kept_rows() > 0.9 * LED
    assert falling.found() >= falling.found_by_all_signs() - 0.002


def test_dims_of_equal_variance_are_all_read():
    equal = Data(0)
    assert equal.kept_rows() == TIMES * K
    assert abs(equal.found() - equal.found_by_all_signs()) < 0.01  # queries are rounded to bytes


# So few are allowed that a batch copies them out, and that reading fewer signs of these alone would not pay.
def test_a_batch_over_a_filter_gets_the_answers_that_its_queries_get_alone(falling):
    allow = np.arange(0, ROWS, 4)
    batch = falling.index.search(falling.queries, K, oversampling=TIMES, allow=allow)
    alone = [falling.index.search(q, K, oversampling=TIMES, allow=allow) for q in falling.queries]
    np.testing.assert_array_equal(batch.ids, np.concatenate([hits.ids for hits in alone]))
    np.testing.assert_array_equal(batch.scores, np.concatenate([hits.scores for hits in alone]))


def test_a_batch_gets_the_answers_that_its_queries_get_alone(falling):
    batch = falling.index.search(falling.queries, K, oversampling=TIMES)
    alone = [falling.index.search(q, K, oversampling=TIMES) for q in falling.queries]
    np.testing.assert_array_equal(batch.ids, np.concatenate([hits.ids for hits in alone]))
    np.testing.assert_array_equal(batch.scores, np.concatenate([hits.scores for hits in alone]))


CODE = f"""
import hashlib, sys
import numpy as np
import bebr

index = bebr.open_index(sys.argv[1])
queries = np.load(sys.argv[2])
taken = hashlib.sha256()
for some in (*queries[:20, None], queries[:7], queries):
    hits = index.search(some, {K}, oversampling={TIMES})
    taken.update(hits.ids.tobytes() + hits.scores.tobytes())
print(bebr.info()["isa"], taken.hexdigest())
"""


def test_every_instruction_set_finds_the_same(falling, tmp_path):
    falling.index.save(tmp_path / "flat.bebr")
    np.save(tmp_path / "queries.npy", falling.queries)
    first, *others = answers(CODE, str(tmp_path / "flat.bebr"), str(tmp_path / "queries.npy")).values()
    assert others == [first] * len(others)
