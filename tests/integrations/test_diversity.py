"""What is chosen from nothing is nothing: searches for unlike hits ask that of empty stores."""

from bebr.integrations.diversity import most_diverse


def test_nothing_is_chosen_from_nothing():
    assert most_diverse([1.0, 0.0], [], 4, 0.5) == []
    assert most_diverse([1.0, 0.0], [[0.0, 2.0]], 4, 0.5) == [0]
