"""What is recommended: by example, and as properties of any set of points."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bebr.tradeoff import Row, pareto, recommend, series
from tests.tradeoff.points import ours, theirs

WORDNET = [ours(24, 0.65), ours(52, 0.817), ours(100, 0.92), ours(196, 0.95), ours(54, 0.78, recipe="4 planes")]


def test_memory_is_bought_as_long_as_it_pays() -> None:
    chosen = recommend(WORDNET)
    assert chosen.row == WORDNET[2] and chosen.reached and chosen.arguments == {"bytes_per_vector": 100}
    assert chosen.sentence == (
        "100 bytes a vector: recall@10 0.920 ± 0.004 at 1,000 queries a second; "
        "196 bytes would add 0.030 for 2.0 times the memory; 52 bytes would lose 0.103."
    )
    assert chosen.rule == "The last code for which twice the bytes still add 0.05 of recall."


def test_a_target_takes_the_fewest_bytes_that_reach_it_by_a_standard_error() -> None:
    assert recommend(WORDNET, 0.8).row.bytes_per_vector == 52
    assert recommend(WORDNET, 0.815).row.bytes_per_vector == 100  # 52 bytes reach it by less than .004
    short = recommend(WORDNET, 0.99)
    assert short.row.bytes_per_vector == 196 and not short.reached
    assert "no code measured here reaches 0.99; no larger code that recalls more was measured" in short.sentence


def test_planes_of_equal_width_are_named_by_their_widths() -> None:
    assert recommend([ours(8, 0.9, recipe="2 planes")]).arguments == {"widths": [16, 16]}


def test_peers_that_recall_as_much_in_as_few_bytes_are_named_and_not_recommended() -> None:
    ahead, larger = theirs("faiss PQ48x8", 48, 0.93), theirs("faiss SQ8", 384, 0.99)
    chosen = recommend([*WORDNET, larger, ahead])
    assert chosen.row == WORDNET[2] and chosen.ahead == (ahead,)


@pytest.mark.parametrize("target", [0, 1, -0.5, float("nan")])
def test_wrong_targets_are_named(target: float) -> None:
    with pytest.raises(ValueError, match="target_recall: got"):
        recommend(WORDNET, target)


def test_peers_alone_have_nothing_to_recommend() -> None:
    with pytest.raises(ValueError, match="none of bebr"):
        recommend([theirs("faiss SQ8", 384, 0.99)])


# Coarse figures, so that ties are common
points = st.builds(
    ours,
    size=st.sampled_from([8, 16, 24, 25, 52, 100, 196]),
    recall=st.integers(0, 20).map(lambda twentieths: twentieths / 20),
    speed=st.sampled_from([100.0, 200.0, 300.0]),
    recipe=st.sampled_from(["ragged", "2 planes"]),
)
sets = st.lists(points, min_size=1, max_size=12)
targets = st.sampled_from([None, 0.3, 0.9])


def beats(a: Row, b: Row) -> bool:
    """No worse in bytes, recall and speed, and better in one."""
    costs = [(row.bytes_per_vector, -row.recall, -row.queries_per_second) for row in (a, b)]
    return costs[0] != costs[1] and all(x <= y for x, y in zip(*costs, strict=True))


@given(sets, targets)
@settings(max_examples=40, deadline=None)
def test_nothing_beats_what_is_recommended(rows: list[Row], target: float | None) -> None:
    chosen = recommend(rows, target)
    assert chosen.row in rows and not any(beats(row, chosen.row) for row in rows)
    for row in (chosen.smaller, chosen.larger):
        assert row is None or not any(beats(other, row) for other in rows)


@given(sets, targets, st.data())
@settings(max_examples=40, deadline=None)
def test_a_beaten_point_changes_nothing(rows: list[Row], target: float | None, data: st.DataObject) -> None:
    better = data.draw(st.sampled_from(rows))
    worse = replace(
        better,
        bytes_per_vector=better.bytes_per_vector + data.draw(st.sampled_from([0, 1, 30])),
        recall=max(0.0, better.recall - data.draw(st.sampled_from([0, 0.05, 0.3]))),
        recall_error=data.draw(st.sampled_from([0.0, 0.004, 0.1])),
        queries_per_second=better.queries_per_second - data.draw(st.sampled_from([0.0, 50.0])),
    )
    if beats(better, worse):
        place = data.draw(st.integers(0, len(rows)))
        assert recommend([*rows[:place], worse, *rows[place:]], target) == recommend(rows, target)


@given(sets)
@settings(max_examples=40, deadline=None)
def test_every_point_is_on_the_front_or_behind_it(rows: list[Row]) -> None:
    front = pareto(rows)
    sizes, recalls = [row.bytes_per_vector for row in front], [row.recall for row in front]
    assert sizes == sorted(set(sizes)) and recalls == sorted(set(recalls))
    for row in rows:
        assert any(one.bytes_per_vector <= row.bytes_per_vector and one.recall >= row.recall for one in front)


def test_lines_of_peers_join_pareto_points_only() -> None:
    codes = [theirs("faiss PQ48x8", 48, 0.7), theirs("faiss PQ96x4fs", 48, 0.6), theirs("faiss PQ96x8", 96, 0.65)]
    own = [ours(24, 0.7), ours(52, 0.6)]
    first, second = series([*codes, *own])
    assert (first.label, first.system) == ("faiss PQ", "faiss") and set(first.rows) == set(codes)
    assert first.line == (codes[0],)
    assert second.label == "bebr ragged, ADC" and second.line == second.rows == tuple(own)
