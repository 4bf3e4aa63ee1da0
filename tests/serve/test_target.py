"""Addresses as users write them."""

from __future__ import annotations

import pytest

import bebr
from bebr.serve.target import parse_target


@pytest.mark.parametrize(
    ("given", "parsed"),
    [
        ("localhost", "localhost:7777"),
        ("localhost:80", "localhost:80"),
        ("10.0.0.1", "10.0.0.1:7777"),
        ("index-1.example.org:7778", "index-1.example.org:7778"),
        ("[::1]", "[::1]:7777"),
        ("[::1]:99", "[::1]:99"),
        ("::1", "[::1]:7777"),
        ("unix:/run/bebr.sock", "unix:/run/bebr.sock"),
        ("dns:///index:7777", "dns:///index:7777"),
    ],
)
def test_the_port_is_7777_where_none_is_named(given, parsed):
    assert parse_target(given) == parsed


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("", "target is ''"),
        (":7777", "target is ':7777'"),
        ("a host", "target is 'a host'"),
        ("localhost:", "got port ''"),
        ("localhost:http", "got port 'http'"),
        ("localhost:0", "want 1 to 65535"),
        ("localhost:65536", "want 1 to 65535"),
        ("http://localhost:7777", "without a scheme or a path"),
        ("localhost:7777/docs", "without a scheme or a path"),
        (7777, "target is 7777"),
        (None, "target is None"),
    ],
)
def test_what_is_no_address_is_named(given, words):
    with pytest.raises(ValueError, match="want") as error:
        bebr.connect(given)
    assert words in str(error.value)
