"""A fork of the process that has a database open: it reads, it does not write, and it holds nobody up."""

from __future__ import annotations

import faulthandler
import os
import sys
import traceback
from collections.abc import Callable
from typing import Any

import pytest

import bebr
from bebr.collection.protocol import DatabaseLocked
from tests.forked import fork


def in_fork(work: Callable[[], Any]) -> bool:
    """Whether `work` was true in a fork. One that waits for ever is ended, and was not; it says where it waits."""
    child = fork()
    if child == 0:
        faulthandler.dump_traceback_later(30, exit=True, file=sys.__stderr__)
        try:
            os._exit(0 if work() else 1)
        except BaseException:
            traceback.print_exc(file=sys.__stderr__)
        finally:
            os._exit(2)
    return os.waitpid(child, 0)[1] == 0


def refused(work: Callable[[], Any]) -> bool:
    try:
        work()
    except DatabaseLocked as error:
        return "of which this one is a fork" in str(error)
    return False


@pytest.fixture
def db(tmp_path, vectors):
    with bebr.open(tmp_path / "data") as db:
        docs = db.create_collection("docs", dim=64)
        docs.upsert(range(900), vectors[:900], [{"n": i % 7} for i in range(900)])
        docs.flush()
        docs.upsert([1000], vectors[1000:1001], [{"n": 0}])
        yield db


def test_it_reads(db, vectors):
    docs = db.collection("docs")
    want = docs.search(vectors[:9], 5, filter={"n": 3}).ids.tolist()
    assert in_fork(lambda: docs.search(vectors[:9], 5, filter={"n": 3}).ids.tolist() == want)
    assert in_fork(lambda: docs.get([1000])[0].payload == {"n": 0} and len(docs.scroll()) == 901)


WRITES = {
    "upsert": lambda db, docs, x: docs.upsert([5], x[:1]),
    "many rows": lambda db, docs, x: docs.upsert(range(1000), x[:1000]),
    "set_payloads": lambda db, docs, x: docs.set_payloads([5], [{}]),
    "delete": lambda db, docs, x: docs.delete([5]),
    "delete by filter": lambda db, docs, x: docs.delete(filter={"n": 3}),
    "truncate": lambda db, docs, x: docs.truncate(),
    "flush": lambda db, docs, x: docs.flush(),
    "settle": lambda db, docs, x: docs.settle(),
    "create": lambda db, docs, x: db.create_collection("more", dim=3),
    "drop": lambda db, docs, x: db.drop_collection("docs"),
    "register a model": lambda db, docs, x: db.register_model(bebr.untrained(5, 3)),
    "alias": lambda db, docs, x: db.set_alias("other", "docs"),
    "snapshot": lambda db, docs, x: db.snapshot(db.path.parent / "snapshots"),
    "restore": lambda db, docs, x: db.restore_collection(db.path.parent / "snapshots", "docs", "again"),
}


@pytest.mark.parametrize("name", WRITES)
def test_its_writes_are_refused_and_those_of_its_parent_go_on(db, vectors, name):
    docs = db.collection("docs")
    files = sorted(db.path.rglob("*"))
    assert in_fork(lambda: refused(lambda: WRITES[name](db, docs, vectors)))
    assert sorted(db.path.rglob("*")) == files
    assert docs.upsert([2000], vectors[:1]) == 1
    assert (len(docs), db.collections()) == (902, ["docs"])


def test_it_may_close_what_it_has_and_the_parent_has_it_still(db, vectors):
    assert in_fork(lambda: db.close() is None)
    assert db.collection("docs").upsert([2000], vectors[:1]) == 1
    with pytest.raises(DatabaseLocked, match=f"is open in process {os.getpid()}"):
        bebr.open(db.path)


def test_one_that_lives_on_does_not_hold_the_folder(db, tmp_path):
    end, hold = os.pipe()
    child = fork()
    if child == 0:
        os.close(hold)
        os.read(end, 1)  # until the parent closes it
        os._exit(0)
    os.close(end)
    try:
        db.close()
        with bebr.open(tmp_path / "data") as again:
            assert len(again.collection("docs")) == 901
    finally:
        os.close(hold)
        os.waitpid(child, 0)
