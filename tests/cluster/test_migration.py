"""Another producer's vectors for a collection in three shards, each of which two leaves have, and two roots."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

import bebr
from bebr.collection.protocol import DatabaseLocked
from bebr.store.database import Database
from tests.cluster.running import asked, until
from tests.store.test_streaming import new, old, other, stranger  # noqa: F401

ROWS, SHARDS = 600, 3
IDS = [i if i % 3 else f"row {i}" for i in range(ROWS)]


@pytest.fixture
def cluster(here, postgres, tmp_path):
    """Two clients, of a root each, and the databases of the two leaves."""
    url, about = postgres.schema(), {"segments": f"file://{tmp_path}/segments", "lease_seconds": 2}
    with ExitStack() as stack:
        dbs = [stack.enter_context(Database(url, cache=tmp_path / name, **about)) for name in "ab"]
        leaves = [here.leaf(db) for db in dbs]
        roots = [here.root(leaves, shards=SHARDS) for _ in dbs]
        for address in (*leaves, *roots):
            stack.callback(here.stop, address)
        yield [stack.enter_context(bebr.connect(root, retries=0)) for root in roots], dbs


def rows_of(x):
    """What one collection of these vectors, in the order of ids, answers."""

    def made(bz, q):
        index = bebr.FlatIndex(bz)
        index.add(x[:ROWS])
        hits = index.search(q, 5, exact=True)
        return [[IDS[i] for i in row] for row in hits.ids.tolist()], hits.scores

    return made


def digest(client) -> str:
    """Of the collection's model, as a root has it."""
    return client.collection("docs").binarizer.digest


def shards(dbs) -> list:
    """Each of them as each leaf has it."""
    return [db.collection(f"docs.{i}of{SHARDS}") for db in dbs for i in range(SHARDS)]


def all_there(dbs) -> bool:
    """Whether all leaves know of a vector of either producer for each row."""
    return all(shard.successor and not shard.stats().rows_behind for shard in shards(dbs))


def is_refused(docs, q) -> bool:
    """Whether the queries are of a model that the collection has no vectors of."""
    try:
        docs.search(q, 5)
    except bebr.IncompatibleModel:
        return True
    return False


def streamed(docs, bz, x) -> None:
    """Vectors for all rows that are behind."""
    while page := docs.scroll(limit=150, behind=True, payloads=False):
        at = [IDS.index(row.id) for row in page]
        docs.migrate(bz, vectors=[([row.id for row in page], x[at])])


def test_no_query_fails_and_none_is_answered_by_both_vectors(cluster, old, new, vectors, other):  # noqa: F811
    (first, second), dbs = cluster
    q_old, q_new = vectors[2600:2605], other[2600:2605]
    by_old, by_new = rows_of(vectors)(old, q_old), rows_of(other)(new, q_new)
    docs = first.create_collection("docs", old)
    assert docs.upsert(IDS, vectors[:ROWS], [{"n": i} for i in range(ROWS)]) == ROWS
    until(lambda: sum(map(len, shards(dbs))) == 2 * ROWS)
    held = second.collection("docs")
    with ExitStack() as stack:
        with asked(held, q_old, by_old) as answered:
            docs.migrate(new, vectors=())
            assert docs.upsert(IDS[:9], vectors[:9], [{"n": -1}] * 9) == 9
            streamed(docs, new, other)
            assert (docs.stats().target, docs.stats().rows_behind) == (new.digest, 0)
            until(lambda: all_there(dbs))
            answers = stack.enter_context(asked(second.collection("docs"), q_new, by_new, binarizer=new))
            until(lambda: len(answers) > 3)
            docs.cutover(keep_old=True)
            until(lambda: {digest(client) for client in (first, second)} == {new.digest})
            assert docs.stats().former == old.digest
            after = len(answered), len(answers)
            until(lambda: len(answered) > after[0] + 9 and len(answers) > after[1] + 9)
        docs.cutover()
        after = len(answers)
        until(lambda: len(answers) > after + 9)
    until(lambda: is_refused(held, q_old))  # of the old producer; by leaves that follow, a moment later
    with pytest.raises((ValueError, bebr.IncompatibleModel)):
        held.upsert(IDS[:9], vectors[:9])
    assert docs.upsert(IDS[:9], other[:9]) == 9 and len(docs) == ROWS and docs.get([IDS[9]])[0].payload == {"n": 9}
    for call in (docs.cutover, docs.rollback):
        with pytest.raises(ValueError, match="collection 'docs' is not being migrated by streamed vectors"):
            call()


def test_refused_by_one_shard_it_changes_none_and_it_leads_back(cluster, old, new, vectors, other):  # noqa: F811
    (first, second), _ = cluster
    q_old, q_new = vectors[2600:2605], other[2600:2605]
    docs = first.create_collection("docs", old)
    docs.upsert(IDS, vectors[:ROWS])
    docs.migrate(new, vectors=[(IDS, other[:ROWS])])
    docs.upsert(IDS[7:19], vectors[7:19])
    with pytest.raises(ValueError, match=f"^12 of {ROWS} rows have no vector of model {new.digest} yet: stream them"):
        docs.cutover()  # of all shards, not of the first that says so
    assert (docs.stats().target, docs.stats().former, digest(first)) == (new.digest, "", old.digest)
    docs.migrate(new, vectors=[(IDS[7:19], other[7:19])])
    docs.cutover(keep_old=True)
    assert docs.upsert([IDS[8]], other[8:9]) == 1
    with pytest.raises(ValueError, match=f"^1 of {ROWS} rows have no vector of model {old.digest} yet: stream them"):
        docs.rollback()
    docs.migrate(old, vectors=[([IDS[8]], vectors[8:9])])
    docs.rollback()
    assert docs.stats().target == new.digest
    until(lambda: digest(first) == old.digest)
    assert docs.search(q_old, 5, exact=True).ids.tolist() == rows_of(vectors)(old, q_old)[0]
    assert docs.search(q_new, 5, exact=True, binarizer=new).ids.tolist() == rows_of(other)(new, q_new)[0]
    docs.rollback()
    assert (
        docs.stats().target == "" and docs.search(q_old, 5, exact=True).ids.tolist() == rows_of(vectors)(old, q_old)[0]
    )
    until(lambda: digest(second) == old.digest)


def test_what_a_root_that_died_has_begun_is_ended_by_the_next_call(cluster, old, new, vectors, other):  # noqa: F811
    (first, second), dbs = cluster
    q_old, q_new = vectors[2600:2605], other[2600:2605]
    docs = first.create_collection("docs", old)
    docs.upsert(IDS, vectors[:ROWS])
    docs.migrate(new, vectors=[(IDS, other[:ROWS])])
    for db in dbs:
        try:
            db.collection(f"docs.2of{SHARDS}").cutover(keep_old=True)
            break
        except DatabaseLocked:
            continue
    else:
        pytest.fail("no leaf has the lease")
    by_old, by_new = rows_of(vectors)(old, q_old), rows_of(other)(new, q_new)
    until(lambda: all_there(dbs))
    for client in (first, second):
        held = client.collection("docs")
        with asked(held, q_old, by_old) as one, asked(held, q_new, by_new, binarizer=new) as another:
            until(lambda: len(one) > 3 and len(another) > 3)
        with pytest.raises(bebr.IncompatibleModel, match=r"what is of shards 0, 1 is done"):
            held.upsert(IDS[:50], vectors[:50])
    streamed(docs, new, other)
    second.collection("docs").cutover()
    assert docs.search(q_new, 5, exact=True, binarizer=new).ids.tolist() == by_new[0]
    until(lambda: digest(first) == new.digest)
    assert first.collection("docs").stats().former == ""
