"""Leaves in processes of their own that are frozen, killed and started again, while a root is asked."""

from __future__ import annotations

import signal

import bebr
from tests.cluster.running import asked, until
from tests.serve.conftest import start  # noqa: F401


def test_with_another_replica_no_query_fails_and_no_write_is_lost(
    start,  # noqa: F811
    postgres,
    here,
    bz,
    vectors,
    queries,
    tmp_path,
):
    url, about = postgres.schema(), {"segments": f"file://{tmp_path}/segments", "lease_seconds": 1}
    with (
        start(url, cache=str(tmp_path / "a"), **about) as first,
        start(url, cache=str(tmp_path / "b"), **about) as second,
    ):
        root = here.root([first.target, second.target], shards=2)
        leaves = here.of(root).leaves
        with bebr.connect(root, retries=0) as client, second.connect() as direct:
            docs = client.create_collection("docs", bz)
            assert docs.upsert(range(400), vectors[:400]) == 400
            until(lambda: sum(len(direct.collection(f"docs.{i}of2")) for i in range(2)) == 400)
            until(lambda: all(len(leaf.shards) == 2 for leaf in leaves.all))  # the root knows of both replicas
            hits = docs.search(queries, 5, exact=True)
            wanted = hits.ids.tolist(), hits.scores

            first.process.send_signal(signal.SIGSTOP)
            before = leaves.tried_twice
            with asked(docs, queries, wanted) as answered:
                until(lambda: len(answered) > 4)
            assert leaves.tried_twice > before
            first.process.send_signal(signal.SIGCONT)
            until(lambda: leaves.all[0].alive)

            with asked(docs, queries, wanted) as one, asked(docs, queries, wanted) as other:
                until(lambda: len(one) > 4 and len(other) > 4)
                first.kill()
                after = len(one)
                until(lambda: len(one) > after + 4)
            assert docs.upsert(range(400, 440), vectors[400:440]) == 40  # once the lease of the first has ended
            assert docs.count() == 440 and None not in docs.get(range(440))
            with start(url, cache=str(tmp_path / "a"), port=int(first.target.rpartition(":")[2]), **about) as again:
                until(lambda: leaves.all[0].alive)
                with again.connect() as back:
                    assert sum(len(back.collection(f"docs.{i}of2")) for i in range(2)) == 440
                second.stop()
                assert len(docs) == 440 and docs.delete(range(440)) == 440
        here.stop(root)
