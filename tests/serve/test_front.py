"""The native front before a server: what it answers equals what Python answers, and it is never behind a write."""

from __future__ import annotations

import gc
import re
import shutil
import socket
import subprocess
import threading
import time
import uuid
import weakref
from collections.abc import Iterator
from pathlib import Path

import grpc
import numpy as np
import pytest

import bebr
from bebr.serve import serve
from bebr.serve.limits import Limits
from bebr.store.snapshots.matching import MOST_KEPT
from bebr.v1 import bebr_pb2 as pb
from bebr.v1 import bebr_pb2_grpc as rpc
from tests.serve.fronted import Fronted, answered

_front = pytest.importorskip("bebr._front", reason="built without libnghttp2")


@pytest.fixture
def fronted(tmp_path) -> Iterator[Fronted]:
    served = Fronted(tmp_path)
    yield served
    served.stop()


@pytest.fixture(scope="module", params=["cosine", "ip", "l2"])
def of_metric(request, vectors) -> bebr.Binarizer:
    return bebr.train(vectors, widths=[48, 16], metric=request.param, seed=0)


@pytest.mark.parametrize("keep", [None, "float16", "int8"])
def test_answers_equal_those_of_python_to_the_bit(tmp_path, of_metric, vectors, queries, keep):
    bz = of_metric
    with bebr.open(tmp_path) as db:
        made = db.create_collection("docs", bz, keep=keep, retrain=False)
        made.upsert(range(2500), vectors[:2500])
        made.delete(range(0, 2500, 9))
        options = [
            {},
            {"query": "code"},
            {"oversampling": 5},
            {"exact": True},
            {"radius": 0.5},
            {"offset": 4},
            {"k": 100, "rescore": 0},
            {"nprobe": 3, "ef_search": 40},
            {"binarizer": bz},
        ]
        wanted = [(made.search(queries[:1], **how), made.search(queries[:30], **how)) for how in options]
    served = Fronted(tmp_path)
    try:
        with bebr.connect(served.target) as client, answered(served, 2 * len(options)):
            remote = client.collection("docs")
            for how, (one, many) in zip(options, wanted, strict=True):
                for found, local in (
                    (remote.search(queries[:1], **how), one),
                    (remote.search(queries[:30], **how), many),
                ):
                    np.testing.assert_array_equal(found.ids, local.ids, str(how))
                    np.testing.assert_array_equal(found.scores, local.scores, str(how))
    finally:
        served.stop()


def test_what_it_does_not_answer_is_forwarded(fronted, bz, vectors):
    with bebr.connect(fronted.target) as client:
        made = client.create_collection("docs", bz)
        made.upsert(range(100), vectors[:100], [{"n": i} for i in range(100)])
        with answered(fronted, 0):
            assert made.search(vectors[3], 2, allow=[7], filter={"n": 7}).ids[0, 0] == 7
            for _ in range(2):  # the first time by the payloads of hits, then by a column, of which the front is told
                assert made.search(vectors[3], 2, group_by="n").ids[0, 0] == 3
            with pytest.raises(ValueError, match="q has shape"):
                made.search(vectors[:1, :5], 1)
        with answered(fronted, 2):
            assert made.search(vectors[3], 1).ids[0, 0] == 3
            assert made.search(vectors[3], 2, group_by="n").groups[0][0] == 3
        client.drop_collection("docs")
        with pytest.raises(KeyError), answered(fronted, 0):
            made.search(vectors[3], 1)


def test_a_dropped_collection_leaves_no_rows_in_memory(fronted, bz, vectors):
    with bebr.connect(fronted.target) as client:
        made = client.create_collection("docs", bz)
        made.upsert(range(100), vectors[:100])
        with answered(fronted, 1):
            assert made.search(vectors[3], 1).ids[0, 0] == 3
        rows = weakref.ref(fronted.front._shown["docs"])
        client.drop_collection("docs")
        until = time.monotonic() + 20
        while rows() is not None and time.monotonic() < until:  # a thread may be about to let go
            gc.collect()
            time.sleep(0.01)
        assert rows() is None


def test_allowed_ids_and_rows_to_search_by(fronted, bz, vectors):
    with bebr.connect(fronted.target) as client:
        made = client.create_collection("docs", bz)
        made.upsert([*range(100), "a"], vectors[:101])
        with answered(fronted, 4):
            assert made.search(vectors[3], 2, allow=[7, 9]).ids.tolist()[0] in ([7, 9], [9, 7])
            assert made.search(vectors[3], 2, allow=[]).ids.tolist() == [[-1, -1]]
            assert 3 not in made.search_ids([3], 5).ids
            assert made.search_ids([3, 4], 5, allow=[3, 4]).ids[:, 0].tolist() == [4, 3]
        with answered(fronted, 0):  # keys of ids are Python's to look up, and what is missing is Python's to name
            assert made.search(vectors[3], 1, allow=["a"]).ids.tolist() == [["a"]]
            assert made.search_ids(["a"], 1).ids.shape == (1, 1)
            with pytest.raises(KeyError, match="no row with id 1000"):
                made.search_ids([1000], 1)


def test_an_alias_is_answered_as_its_collection_is(fronted, bz, vectors):
    with bebr.connect(fronted.target) as client:
        for name, first in (("docs", 0), ("others", 100)):
            client.create_collection(name, bz).upsert(range(first, first + 50), vectors[first : first + 50])
        client.set_alias("now", "docs")
        seen = client.collection("now")
        with answered(fronted, 1):
            assert seen.search(vectors[3], 1).ids[0, 0] == 3
        client.set_alias("now", "others")
        with answered(fronted, 1):
            assert seen.search(vectors[103], 1).ids[0, 0] == 103
        client.set_alias("now", "docs")
        client.drop_collection("docs")
        with answered(fronted, 0), pytest.raises(KeyError):
            seen.search(vectors[3], 1)
        client.set_alias("now", "others")
        client.drop_alias("now")
        with answered(fronted, 0), pytest.raises(KeyError):
            seen.search(vectors[103], 1)


def test_payloads_and_ids_of_any_kind(fronted, bz, vectors):
    with bebr.connect(fronted.target) as client:
        made = client.create_collection("docs", bz)
        made.upsert(range(100), vectors[:100], [{"n": i} for i in range(100)])
        with answered(fronted, 1):
            assert made.search(vectors[3], 2, with_payloads=True).payloads[0][0] == {"n": 3}
        made.set_payloads([3], [{"n": "changed"}])
        made.upsert(["a", uuid.UUID(int=7)], vectors[200:202], [{"text": "ü"}, None])
        for _ in range(2):  # of the tail, then of a file
            with answered(fronted, 3):
                assert made.search(vectors[3], 1, with_payloads=True).payloads == [[{"n": "changed"}]]
                found = made.search(vectors[200:202], 1, with_payloads=True)
                assert found.ids.tolist() == [["a"], [uuid.UUID(int=7)]]
                assert found.payloads == [[{"text": "ü"}], [None]]
                assert made.search(vectors[3], 1).ids[0, 0] == 3
            made.flush()


def test_a_reply_with_payloads_beyond_its_limit_is_refused_in_pythons_words(tmp_path, bz, vectors):
    served = Fronted(tmp_path, limits=Limits(message_bytes=100_000))
    try:
        with bebr.connect(served.target) as client:
            made = client.create_collection("docs", bz)
            for begin in (0, 5):
                made.upsert(range(begin, begin + 5), vectors[begin : begin + 5], [{"text": "x" * 15_000}] * 5)
            with answered(served, 1):
                assert len(made.search(vectors[0], 6, with_payloads=True).payloads[0]) == 6
            with answered(served, 0), pytest.raises(bebr.errors.LimitExceeded, match="the reply would have 150"):
                made.search(vectors[0], 10, with_payloads=True)
    finally:
        served.stop()


def test_a_filter_that_came_before_is_answered_until_the_next_write(fronted, bz, vectors):
    with bebr.connect(fronted.target) as client:
        made = client.create_collection("docs", bz)
        made.upsert(range(300), vectors[:300], [{"n": i % 10} for i in range(300)])
        for write in (lambda: made.upsert([400], vectors[:1], [{"n": 3}]), lambda: made.delete([400]), made.flush):
            write()
            for n in (3, 4):
                before = made.search(vectors[:1], 5, filter={"n": n})
                made.search(vectors[:1], 5, filter={"n": n})  # what its searches read is settled then
                with answered(fronted, 2):
                    again = made.search(vectors[:1], 5, filter={"n": n}, with_payloads=True)
                    np.testing.assert_array_equal(again.ids, before.ids)
                    np.testing.assert_array_equal(again.scores, before.scores)
                    assert {payload["n"] for payload in again.payloads[0]} == {n}
                    assert made.search(vectors[:9], 40, filter={"n": n}).ids.shape == (9, 40)


def test_filters_that_are_answered_are_bounded(fronted, bz, vectors):
    with bebr.connect(fronted.target) as client:
        made = client.create_collection("docs", bz)
        made.upsert(range(300), vectors[:300], [{"n": i} for i in range(300)])
        for i in range(60):
            for _ in range(3):
                assert made.search(vectors[:1], 1, filter={"n": i}).ids.tolist() == [[i]]
        shown = fronted.front._shown["docs"].snapshot.plans.shown
        assert 0 < len(shown) <= MOST_KEPT


def test_a_write_that_returned_is_seen(fronted, bz, vectors):
    with bebr.connect(fronted.target) as client, bebr.connect(fronted.target) as other:
        made, seen = client.create_collection("docs", bz), other.collection("docs")
        for i in range(60):
            made.upsert([i], vectors[i : i + 1])
            assert seen.search(vectors[i], 1).ids[0, 0] == i
        made.delete([5])
        assert 5 not in seen.search(vectors[5], 59).ids
        made.settle()
        assert seen.search(vectors[7], 1).ids[0, 0] == 7
        made.truncate()
        assert (seen.search(vectors[7], 1).ids == -1).all()
        made.upsert([1], vectors[9:10])
        assert seen.search(vectors[9], 1).ids[0, 0] == 1
    assert fronted.counts()["answered"] >= 62


def test_searches_beside_writes(fronted, bz, vectors):
    """Every answer is of one moment: 50 rows move together, so either all or none of the new ones are found."""
    with bebr.connect(fronted.target) as client:
        made = client.create_collection("docs", bz)
        made.upsert(range(50), vectors[:50])
        wrong, stop = [], threading.Event()

        def read() -> None:
            with bebr.connect(fronted.target) as own:
                collection = own.collection("docs")
                while not stop.is_set():
                    ids = collection.search(vectors[:2], 50).ids
                    if any(len(np.unique(row // 1000)) != 1 for row in ids):
                        wrong.append(ids)

        readers = [threading.Thread(target=read) for _ in range(3)]
        for reader in readers:
            reader.start()
        for turn in range(1, 40):
            made.truncate()
            made.upsert(np.arange(50) + 1000 * turn, vectors[:50])
        stop.set()
        for reader in readers:
            reader.join()
    # After truncate and before upsert there is nothing, which is the id -1 alone.
    assert not wrong


def test_stats_count_what_was_joined(fronted, bz, vectors):
    with bebr.connect(fronted.target) as client:
        made = client.create_collection("docs", bz)
        made.upsert(range(100), vectors[:100])
        before = made.stats().batching
        for i in range(7):
            made.search(vectors[i : i + 2], 3)
        after = made.stats().batching
        assert (after.requests - before.requests, after.queries - before.queries) == (7, 14)
        assert after.largest >= 2


def test_stopping_finishes_accepted_calls(start, tmp_path, bz, vectors):
    with bebr.open(tmp_path) as db:
        db.create_collection("docs", bz).upsert(range(100), vectors[:100])
    with start(tmp_path) as server, grpc.insecure_channel(server.target) as channel:
        queries = pb.Vectors(f32=vectors[:1].tobytes(), dimension=64, count=1)
        search = rpc.PointsStub(channel).Search
        codes: list[grpc.StatusCode] = []

        def ask() -> None:
            while True:
                try:
                    assert search(pb.SearchRequest(collection="docs", queries=queries, k=3), timeout=20).counts == [3]
                except grpc.RpcError as error:
                    codes.append(error.code())
                    return

        threads = [threading.Thread(target=ask) for _ in range(8)]
        for thread in threads:
            thread.start()
        time.sleep(0.5)
        server.stop()
        for thread in threads:
            thread.join(20)
        assert set(codes) == {grpc.StatusCode.UNAVAILABLE}


def test_ipv6(start, tmp_path):
    if not socket.has_ipv6:
        pytest.skip("no IPv6")
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        pytest.skip("no IPv6 loopback")
    with start(tmp_path, host="::1") as server, server.connect() as client:
        assert client.collections() == []


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    """A folder with an authority (ca.pem) and what it signed: server.pem, client.pem and their keys."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl to make certificates with")
    folder = tmp_path_factory.mktemp("tls")

    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)

    new = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    openssl("req", "-x509", *new, "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=authority")
    for name in ("server", "client"):
        signed = ["-CA", "ca.pem", "-CAkey", "ca.key", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
        openssl("req", "-x509", *new, *signed, "-keyout", f"{name}.key", "-out", f"{name}.pem", "-subj", f"/CN={name}")
    return folder


@pytest.mark.parametrize("front", [True, False])
@pytest.mark.parametrize("mutual", [False, True])
def test_tls(start, tmp_path, certificates, bz, vectors, front, mutual):
    if front and not _front.tls:
        pytest.skip("built without libssl")
    with bebr.open(tmp_path) as db:
        db.create_collection("docs", bz).upsert(range(100), vectors[:100])

    def file(name: str) -> bytes:
        return (certificates / name).read_bytes()

    def ask(credentials: grpc.ChannelCredentials) -> list[int]:
        queries = pb.Vectors(f32=vectors[:1].tobytes(), dimension=64, count=1)
        with grpc.secure_channel(server.target, credentials) as channel:
            request = pb.SearchRequest(collection="docs", queries=queries, k=3)
            assert "docs" in rpc.CollectionsStub(channel).List(pb.ListCollectionsRequest(), timeout=10).names
            return list(rpc.PointsStub(channel).Search(request, timeout=10).counts)

    tls = {"tls_certificate": str(certificates / "server.pem"), "tls_key": str(certificates / "server.key")}
    tls |= {"tls_client_ca": str(certificates / "ca.pem")} if mutual else {}
    with start(tmp_path, front=front, **tls) as server:
        plain = grpc.ssl_channel_credentials(file("ca.pem"))
        known = grpc.ssl_channel_credentials(file("ca.pem"), file("client.key"), file("client.pem"))
        assert ask(known) == [3]
        if mutual:
            with pytest.raises(grpc.RpcError) as refused:
                ask(plain)
            assert refused.value.code() == grpc.StatusCode.UNAVAILABLE
        else:
            assert ask(plain) == [3]
        with pytest.raises(grpc.RpcError), grpc.insecure_channel(server.target) as channel:
            rpc.CollectionsStub(channel).List(pb.ListCollectionsRequest(), timeout=5)


def test_files_of_tls_that_cannot_be_used(tmp_path):
    with pytest.raises(ValueError, match="want certificate and key, or none of them"):
        serve(tmp_path, port=0, tls_certificate="server.pem")
    with pytest.raises(FileNotFoundError, match=r"nothing\.pem"):
        serve(tmp_path, port=0, tls_certificate=tmp_path / "nothing.pem", tls_key=tmp_path / "nothing.key")


def test_a_field_that_comes_twice_is_protobufs_business():
    """It refuses a name that is not UTF-8 even where another follows, which the front once answered."""
    queries = pb.Vectors(f32=np.ones(3, np.float32).tobytes(), dimension=3, count=1)
    honest = pb.SearchRequest(collection="docs", queries=queries, k=3).SerializeToString()
    assert _front.read_search(honest)["collection"] == b"docs"
    assert _front.read_search(b"\x0a\x01\xff" + honest) is None


def test_mutated_messages():
    from tests.serve.front_messages import run

    taken, forwarded = run(4000, 7)
    assert taken > 300 and forwarded > 300


def test_an_idle_server_rests(start, tmp_path):
    with start(tmp_path) as server, server.connect() as client:
        client.collections()

        def woken() -> int:
            """How often the main thread, which is Python's, has waited so far."""
            status = Path(f"/proc/{server.process.pid}/status").read_text()
            return int(re.search(r"^voluntary_ctxt_switches:\s+(\d+)", status, re.MULTILINE)[1])

        time.sleep(0.5)  # until it has opened its folder
        before = woken()
        time.sleep(1)
        assert woken() - before <= 5
