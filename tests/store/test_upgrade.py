"""Data folders of older versions, as golden/make.py wrote them, open as they were."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

import bebr
from bebr.store.backup.doctor import examine
from bebr.store.catalog import schema
from tests.conftest import payloads_of

GOLDEN = Path(__file__).parent / "golden"


@pytest.fixture(params=["v2"])
def old(request, tmp_path) -> Path:
    return shutil.copytree(GOLDEN / request.param, tmp_path / "old")


def _docs(path: Path) -> tuple[list[int], list[int], list[dict[str, int] | None]]:
    """Ids found, by rank; and what is stored of all."""
    q = np.random.default_rng(0).standard_normal((10, 8)).astype(np.float32)[5]
    with bebr.open(path) as db:
        docs = db.collection("docs")
        ids = list(range(1, 9))
        return docs.search(q, 9).ids[0].tolist(), ids, payloads_of(docs, ids)


def test_a_folder_of_an_older_version_opens_and_stays_good(old, queries):
    for _ in range(2):  # as it is upgraded, and once it was
        found, ids, payloads = _docs(old)
        assert found[0] == 5 and sorted(found) == [-1, *range(1, 9)]
        assert payloads == [{"n": i} for i in ids]
        assert examine(old) == []
    with bebr.open(old) as db:
        docs = db.collection("docs")
        docs.upsert([0], np.ones((1, 8)))
        docs.settle()
        assert len(docs) == 9
    assert len(_docs(old)[0]) == 9
    with closing(sqlite3.connect(old / "catalog.db")) as db:
        assert db.execute("SELECT value FROM meta WHERE key = 'schema'").fetchone() == (str(schema.VERSION),)


def test_a_damaged_row_of_an_older_version_stays_damaged(old):
    with closing(sqlite3.connect(old / "catalog.db")) as db, db:
        db.execute("UPDATE operations SET ids = ids || x'00' WHERE version = 3")
    for _ in range(2):
        with bebr.open(old) as db, pytest.raises(bebr.CorruptFile, match="write 3 part 0: checksum expected"):
            db.collection("docs")


def test_an_upgrade_that_fails_changes_nothing(old, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("bebr.store.catalog.upgrade._set", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            bebr.open(old)
    with closing(sqlite3.connect(old / "catalog.db")) as db:
        assert db.execute("SELECT value FROM meta WHERE key = 'schema'").fetchone() == ("2",)
    assert _docs(old)[0][0] == 5


@pytest.mark.parametrize(("schema", "remedy"), [("1", "write the collections anew"), ("99", "upgrade bebr")])
def test_a_version_that_cannot_be_read_is_refused_in_words(old, schema, remedy):
    with closing(sqlite3.connect(old / "catalog.db")) as db, db:
        db.execute("UPDATE meta SET value = ? WHERE key = 'schema'", [schema])
    with pytest.raises(bebr.CorruptFile, match=f"has schema {schema}.*{remedy}"):
        bebr.open(old)
