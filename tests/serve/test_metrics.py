"""What `--metrics` tells Prometheus: figures of calls, searches, collections and queues, under bounded labels."""

from __future__ import annotations

import re
import urllib.request
from pathlib import Path

import grpc
import numpy as np
import pytest

import bebr
from bebr.serve.calls import Call
from bebr.serve.convert import vectors_to_message
from bebr.serve.keys import KeyFile, Role
from bebr.v1 import bebr_pb2 as pb
from bebr.v1 import bebr_pb2_grpc as rpc
from tests.serve.fronted import Fronted

pytest.importorskip("prometheus_client")


@pytest.fixture
def measured(start, tmp_path, bz, vectors):
    """A client of a server with 300 rows in "docs", what its `/metrics` says, and the port of that."""
    with start(tmp_path, metrics_port=0) as server:
        address = server.process.stdout.readline().split()[-1]

        def read() -> dict[str, float]:
            with urllib.request.urlopen(address) as reply:
                lines = reply.read().decode().splitlines()
            return {key: float(value) for key, value in (line.rsplit(" ", 1) for line in lines if line[0] != "#")}

        with server.connect() as client:
            docs = client.create_collection("docs", bz)
            docs.upsert(np.arange(300), vectors[:300])
            yield client, read, int(address.split(":")[2].split("/")[0])
        server.stop()


def test_calls_are_counted_by_method_and_collection(measured, queries):
    client, read, _ = measured
    docs = client.collection("docs")
    for _ in range(3):
        docs.search(queries[:4], k=5)
    found = read()
    assert found['bebr_call_seconds_count{collection="docs",method="Points/Search"}'] == 3
    assert found['bebr_call_seconds_count{collection="docs",method="Points/Upsert"}'] == 1
    assert found['bebr_search_seconds_sum{collection="docs"}'] > 0
    assert (
        found['bebr_search_seconds_sum{collection="docs"}']
        < found['bebr_call_seconds_sum{collection="docs",method="Points/Search"}']
    )
    assert found['bebr_search_batch_queries_sum{collection="docs"}'] == 12
    assert found['bebr_kernel_queries_total{collection="docs"}'] == 12
    assert found['bebr_rows_scanned_total{collection="docs"}'] == 12 * 300
    assert 12 * 5 <= found['bebr_rows_survived_total{collection="docs"}'] <= 12 * 300


def test_errors_have_their_code_and_names_of_nothing_make_no_label(measured, queries):
    client, read, _ = measured
    for name in ("a", "b", "c"):
        with pytest.raises(KeyError):
            client.collection(name)
    with pytest.raises(bebr.LimitExceeded):
        client.collection("docs").search(queries[:1], k=100_000)
    found = read()
    assert found['bebr_call_errors_total{code="NOT_FOUND",collection="",method="Collections/Get"}'] == 3
    assert found['bebr_call_errors_total{code="RESOURCE_EXHAUSTED",collection="docs",method="Points/Search"}'] == 1
    assert not [
        key for key in found if 'collection="' in key and 'collection="docs"' not in key and 'collection=""' not in key
    ]


def test_collections_tell_their_rows_files_and_model(measured, bz):
    client, read, _ = measured
    docs = client.collection("docs")
    found = read()
    assert found['bebr_rows{collection="docs"}'] == found['bebr_tail_rows{collection="docs"}'] == 300
    docs.settle()
    docs.delete(np.arange(10))
    found = read()
    assert (found['bebr_rows{collection="docs"}'], found['bebr_tail_rows{collection="docs"}']) == (290, 0)
    assert (found['bebr_segments{collection="docs"}'], found['bebr_dead_rows{collection="docs"}']) == (1, 10)
    assert (found['bebr_seals_total{collection="docs"}'], found['bebr_merges_total{collection="docs"}']) == (1, 0)
    assert found['bebr_index_rows{collection="docs",kind="flat"}'] == 290
    assert found['bebr_bytes_on_disk{collection="docs"}'] == docs.stats().bytes_on_disk
    labels = f'bytes="{bz.bytes_per_vector}",collection="docs",metric="{bz.metric}",model="{bz.digest}",target=""'
    assert found[f"bebr_collection{{{labels}}}"] == 1
    assert found['bebr_queue_depth{queue="searches"}'] == found["bebr_memory_held_bytes"] == 0
    assert found["process_open_fds"] > 0


def test_a_dropped_collection_leaves_no_series(measured, queries):
    client, read, _ = measured
    client.collection("docs").search(queries[:1], k=1)
    client.drop_collection("docs")
    assert not [key for key in read() if "docs" in key]


def test_a_metrics_port_in_use_is_an_error_before_anything_is_served(start, tmp_path, measured):
    _, _, port = measured
    with (
        pytest.raises(RuntimeError, match=f"cannot serve metrics on 127.0.0.1:{port}"),
        start(tmp_path / "other", metrics_port=port),
    ):
        pass


def test_the_operators_page_lists_every_metric_with_its_labels(measured, queries):
    client, read, _ = measured
    docs = client.collection("docs")
    docs.search(queries[:1], k=1)
    docs.settle()  # into a file, which has a kind
    with pytest.raises(KeyError):
        client.collection("nothing")
    page = (Path(__file__).parents[2] / "docs" / "operations.md").read_text()
    lines = page.partition("| metric | labels | what |")[2].partition("\n\n")[0].splitlines()[2:]
    told: dict[str, set[str]] = {}
    for names, labels in (line.split("|")[1:3] for line in lines):
        told |= {name: set(re.findall(r"\w+", labels)) for name in re.findall(r"`(bebr_\w+)`", names)}
    there: dict[str, set[str]] = {}
    for key in read():
        name, _, labels = key.partition("{")
        if name.startswith("bebr_") and not name.endswith("_created"):
            name = re.sub(r"_(bucket|sum|count)$", "", name)
            there[name] = there.get(name, set()) | set(re.findall(r'(\w+)="', labels)) - {"le"}
    for name in ("bebr_budget_used", "bebr_budget_limit"):  # of budgets, of which this server has none: test_budgets.py
        there[name] = {"budget"}
    there.setdefault("bebr_front_calls_total", {"outcome"})  # built without libnghttp2
    there["bebr_device_rows"] = {"collection", "device"}  # of a server with --device: tests/serve/test_device.py
    assert told == there


def test_calls_that_the_front_answers_have_the_series_of_those_that_python_does(tmp_path, bz, vectors):
    pytest.importorskip("bebr._front", reason="built without libnghttp2")

    def figures(served: Fronted) -> dict[str, float]:
        lines = (line.rsplit(" ", 1) for line in served.metrics().text().decode().splitlines() if line[0] != "#")
        return {key: float(value) for key, value in lines if key.startswith(("bebr_call", "bebr_search"))}

    def after_calls(front: bool) -> tuple[dict[str, float], dict[str, float]]:
        """What metrics say after the same calls, and once the collection is dropped."""
        folder = tmp_path / str(front)
        with bebr.open(folder) as db:
            db.create_collection("docs", bz).upsert(range(50), vectors[:50], [{"n": i % 10} for i in range(50)])
            db.create_collection("others", bz).upsert(range(50), vectors[:50])
            db.set_alias("alias", "docs")
        file = KeyFile(folder)
        token, some = file.create("all", Role.ADMIN), file.create("some", Role.READ, ["others"])
        served = Fronted(folder, keys=file, front=front)
        try:
            served.metrics()
            with bebr.connect(served.target, token=token) as every:
                for name, queries in (("docs", 1), ("docs", 3), ("alias", 2), ("others", 1)):
                    every.collection(name).search(vectors[:queries], 3)
                for _ in range(3):  # by Python first
                    every.collection("docs").search(vectors[:1], 3, filter={"n": 1})
                with pytest.raises(bebr.LimitExceeded):
                    every.collection("docs").search(vectors[:1], 100_000)
                with grpc.insecure_channel(served.target) as channel:
                    search = rpc.PointsStub(channel).Search
                    for name in ("docs", "nothing"):
                        request = pb.SearchRequest(collection=name, queries=vectors_to_message(vectors[:1]), k=1)
                        with pytest.raises(grpc.RpcError, match="PERMISSION_DENIED"):
                            search(request, metadata=[("authorization", f"Bearer {some}")], timeout=10)
                if front:
                    assert served.counts()["answered"] >= 5
                    served.calls.tell(Call("Points/Search", collection="docs", counted=True))  # as for a log
                before = figures(served)
                every.drop_collection("docs")
                return before, figures(served)
        finally:
            served.stop()

    for fronted, python in zip(after_calls(True), after_calls(False), strict=True):
        assert fronted.keys() == python.keys()
        for key, count in python.items():
            if any(part in key for part in ("_count{", "_total{", "batch_queries_bucket{")):
                assert fronted[key] == count, key
        assert fronted['bebr_call_errors_total{code="PERMISSION_DENIED",collection="",method="Points/Search"}'] > 0
