"""Keys over HTTP: the same as over gRPC."""

from __future__ import annotations

import json
import os

import pytest

import bebr
from bebr.http.app import routes
from bebr.serve.access import RULES
from bebr.serve.keys import KeyFile, Role
from tests.http_client import Http

REQUESTS = int(os.environ.get("BEBR_KEY_REQUESTS", "200"))


@pytest.fixture(scope="module")
def guarded(start, tmp_path_factory, bz, vectors):
    """Two collections of ten rows, behind keys."""
    path = tmp_path_factory.mktemp("guarded")
    with bebr.open(path) as db:
        for name in ("mine", "other"):
            db.create_collection(name, bz).upsert(range(10), vectors[:10])
    file = KeyFile(path)
    keys = {role.name.lower(): file.create(role.name.lower(), role) for role in Role}
    keys["mine"] = file.create("mine", Role.ADMIN, ["mine"])
    with start(path, http=True) as server:
        server.keys, server.file = keys, file
        yield server


def test_every_route_states_a_method_whose_role_it_needs():
    assert all(route.rpc in RULES for route in routes(dict))


def test_requests_with_a_wrong_key_or_none_reach_no_handler(guarded):
    """Had one reached its handler, it would be answered 400: none of these bodies is JSON."""
    http, right = Http(guarded.http), guarded.keys["admin"]
    wrong = [
        "",
        right,
        f"Basic {right}",
        f"Bearer {right[:-1]}",
        f"Bearer {right}x",
        "Bearer ",
        "Bearer bebr_" + "A" * 5000,
    ]
    table, statuses = routes(dict), set()
    for i in range(REQUESTS):
        route = table[i % len(table)]
        path = route.path.format(name="mine", alias="mine", digest="0")
        given = wrong[i // len(table) % len(wrong)]
        headers = {"content-type": "application/json", **({"authorization": given} if given else {})}
        status, replied, body = http.ask(route.verb, path, None if route.verb == "GET" else b"\xff", headers)
        assert replied["www-authenticate"] == "Bearer" and right not in body.decode()
        statuses.add(status)
    assert statuses == {401}
    assert http.ask("GET", "/metrics")[0] == 401


def test_pages_and_health_need_none(guarded):
    http = Http(guarded.http)
    assert [
        http.ask("GET", path)[0] for path in ("/", "/docs", "/openapi.json", "/static/style.css", "/v1/health")
    ] == [200] * 5


def test_each_role_does_what_it_may(guarded, vectors):
    for role, may in (("read", 1), ("write", 2), ("admin", 3)):
        http = Http(guarded.http, guarded.keys[role])
        docs = http.collection("other")
        for needed, attempt in (
            (1, lambda docs=docs: docs.search(vectors[:1], 1)),
            (2, lambda docs=docs: docs.upsert([3], vectors[3:4])),
            (2, docs.flush),
            (3, lambda http=http: http.set_alias("second", "other")),
        ):
            if needed <= may:
                attempt()
            else:
                with pytest.raises(PermissionError, match=rf"'{role}' has the role {role}, and .* needs"):
                    attempt()


def test_a_key_of_some_collections_sees_and_reaches_these_alone(guarded, vectors):
    http = Http(guarded.http, guarded.keys["mine"])
    assert http.collections() == ["mine"]
    mine, other = http.collection("mine"), "/v1/collections/other"
    assert mine.search(vectors[:1], 3).ids.shape == (1, 3)
    for verb, path, values in (
        ("GET", other, {}),
        ("POST", f"{other}/search", {"q": [0.0] * 64}),
        ("POST", f"{other}/upsert", {"ids": [], "x": []}),
        ("POST", "/v1/collections/not-there/measure_recall", {}),
        ("DELETE", other, {}),
    ):
        with pytest.raises(PermissionError, match="'mine' is not granted"):
            http.call(verb, path, **values)
    status, _, body = http.ask("GET", "/metrics")
    assert status == 403 and "for some collections" in json.loads(body)["error"]["message"]


def test_admin_calls_are_in_the_audit_log(guarded):
    with pytest.raises(KeyError):
        Http(guarded.http, guarded.keys["admin"]).drop_collection("gone")
    with pytest.raises(PermissionError):
        Http(guarded.http, guarded.keys["write"]).drop_collection("mine")
    log = guarded.errors()
    assert "who=admin call=Collections/Drop what=name='gone' result=NOT_FOUND" in log
    assert "who=write call=Collections/Drop what=- result=PERMISSION_DENIED" in log


def test_a_revoked_key_is_refused_from_the_next_call_on(guarded):
    token = guarded.file.create("short", Role.READ)
    http = Http(guarded.http, token)
    assert http.collections() == ["mine", "other"]
    guarded.file.revoke("short")
    with pytest.raises(PermissionError, match="no key of this server, or it was revoked"):
        http.collections()
