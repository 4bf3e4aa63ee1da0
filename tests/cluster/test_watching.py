"""Processes that are started again, and those that end with who started them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from types import SimpleNamespace

import pytest

import bebr
from bebr.cli.app import app_for
from bebr.cluster import watching
from bebr.cluster.commands import Commands
from bebr.cluster.opened import opened
from bebr.cluster.placing import Member
from bebr.cluster.watching import Watched
from tests.cluster.running import until
from tests.commands import run

URL = "postgresql://db/search"


def test_a_process_that_is_killed_is_started_again_and_one_that_is_stopped_is_not():
    watched = Watched(["sh", "-c", "echo noise; echo listening on 10.0.0.1:$$; exec sleep 600"])
    until(lambda: watched.state().address)
    first = watched.state()
    assert first.address == f"10.0.0.1:{first.pid}" and first.starts == 1
    os.kill(first.pid, signal.SIGKILL)
    until(lambda: watched.state().starts == 2 and watched.state().address)
    second = watched.state()
    assert second.pid != first.pid
    watched.stop()
    assert watched.state() == watching.State(0, "", 2)
    with pytest.raises(ProcessLookupError):
        os.kill(second.pid, 0)


def test_one_that_does_not_end_in_peace_is_ended_by_force():
    watched = Watched(["sh", "-c", "trap '' TERM; echo listening on here; while :; do sleep .05; done"], grace=0.1)
    until(lambda: watched.state().address)
    watched.stop()
    assert watched.state().pid == 0


def test_one_that_cannot_work_is_tried_ever_less_often(monkeypatch):
    waited = []

    class Event(threading.Event):
        """Seven waits, each over at once."""

        def wait(self, timeout=None):
            waited.append(timeout)
            if len(waited) == 7:
                self.set()
            return self.is_set()

    own = SimpleNamespace(Event=Event, Lock=threading.Lock, Thread=threading.Thread)
    monkeypatch.setattr(watching, "threading", own)  # other threads keep their events
    watched = Watched(["false"])
    watched._thread.join()
    assert waited == [0.5, 1.0, 2.0, 4.0, 8.0, 8.0, 8.0] and watched.state().starts == 7


def test_a_process_ends_when_who_started_it_is_gone(tmp_path):
    command = f"{sys.executable} -m bebr.cli.tied $$ serve {tmp_path}/data --port 0 & exec sleep 600"
    parent = subprocess.Popen(["sh", "-c", command], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    with parent.stdout:
        assert parent.stdout.readline().startswith("listening on ")
        parent.kill()
        parent.wait()
        assert parent.stdout.read() == ""  # until it has ended


def test_command_lines():
    commands = Commands(URL, "s3://bucket/x", shards=4, port=9000, lease_seconds=2, keys="/keys", insecure=True)
    tied = ["-m", "bebr.cli.tied", str(os.getpid())]
    assert commands.of(Member("leaf", 3, 1), "10.0.0.7")[1:] == [
        *(*tied, "leaf", URL, "--host", "10.0.0.7", "--segments", "s3://bucket/x", "--shards", "3", "--port", "0"),
        *("--lease-seconds", "2", "--insecure"),
    ]
    on_devices = Commands(URL, "file:///x", shards=4, device="cuda:1", device_memory_mb=900)
    assert on_devices.of(Member("leaf", 0), "10.0.0.7")[-4:] == ["--device", "cuda:1", "--device-memory-mb", "900"]
    assert "--device" not in on_devices.of(Member("root", 0), "10.0.0.7")
    assert commands.of(Member("root", 0), "10.0.0.7")[-5:] == ["--port", "9000", "--share-port", "--keys", "/keys"]
    assert Commands(URL, "file:///x", shards=4).of(Member("root", 2), "127.0.0.2")[1:] == [
        *(*tied, "root", URL, "--host", "127.0.0.2", "--shards", "4", "--port", "7779", "--share-port")
    ]


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["up", "folder", "--segments", "file:///x"], "the database is 'folder': want the URL of PostgreSQL"),
        (["up", URL, "--segments", "x"], "segments is 'x': want s3://… or file:///…"),
        (["up", URL, "--segments", "file:///x", "--device-memory-mb", 9], "--device-memory-mb is 9: want --device"),
        (["up", URL, "--segments", "file:///x", "--device", "gpu"], "device is 'gpu': want 'cpu', 'cuda' or 'cuda:N'"),
        (["up", URL, "--segments", "file:///x", "--local", 2, "--address", "a:1"], "got --local and --address"),
        (["scale"], "got nothing to change, wanted --replicas, --most-replicas, --roots or --local"),
        (["status"], "bebr cluster needs ray: pip install 'bebr[ray]'"),
    ],
    ids=str,
)
def test_what_the_command_says_to_bad_input(arguments, message, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    result = run("cluster", *arguments)
    assert result.exit_code == 2 and message in result.stderr
    assert app_for(["cluster"]) is not None


def test_a_leaf_has_opened_what_it_takes_unless_it_is_damaged(here, bz, vectors, tmp_path):
    with bebr.open(tmp_path) as db:
        db.create_collection("empty", bz)
        docs = db.create_collection("docs", bz)
        docs.upsert(range(200), vectors[:200])
        docs.flush()
        leaf = here.leaf(db)
        assert opened(leaf)
        here.stop(leaf)
        assert not opened(leaf)
    for file in tmp_path.rglob("*.bebr"):
        file.write_bytes(bytes(file.stat().st_size))
    with bebr.open(tmp_path) as db:
        leaf = here.leaf(db)
        assert not opened(leaf)
        here.stop(leaf)
