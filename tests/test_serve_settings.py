"""Options of `bebr serve` from a file, the environment and flags: which holds, and what is refused."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import bebr
from tests.commands import run


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "bebr.toml"
    path.write_text('port = 1111\nslow_ms = 20\nlog_level = "error"\noption = ["a=1", "b=2"]\n')
    return path


def test_a_flag_holds_over_the_environment_and_that_over_the_file(file, tmp_path, monkeypatch):
    monkeypatch.setenv("BEBR_SERVE_PORT", "2222")
    monkeypatch.setenv("BEBR_SERVE_INSECURE", "true")
    printed = run("serve", tmp_path / "data", "--config", file, "--host", "0.0.0.0", "--print-config")
    assert printed.exit_code == 0, printed.stderr
    lines = printed.stdout.splitlines()
    assert 'host = "0.0.0.0"  # flag' in lines
    assert "port = 2222  # environment" in lines and "insecure = true  # environment" in lines
    assert "slow_ms = 20.0  # file" in lines and 'option = ["a=1", "b=2"]  # file' in lines
    assert "grace = 10.0  # default" in lines and "# metrics is not set" in lines
    assert not (tmp_path / "data").exists()
    again = tmp_path / "again.toml"
    again.write_text(printed.stdout)  # what is printed is such a file
    monkeypatch.delenv("BEBR_SERVE_PORT")
    assert "port = 2222  # file" in run("serve", "data", "--config", again, "--print-config").stdout


@pytest.mark.parametrize(
    "text, said",
    [
        ("prot = 1", "'prot' names no option: did you mean port?"),
        ("slow-ms = 1", "'slow-ms' names no option: did you mean slow_ms?"),
        ("port = ", "is not TOML"),
        (b"\xff\xfe", "bebr.toml is not TOML: 'utf-8' codec"),
        ("[port]\na = 1", "port is a table: want a value"),
        ('port = "x"', "--port"),
    ],
)
def test_a_file_with_a_mistake_is_refused_in_one_line(text, said, tmp_path):
    (tmp_path / "bebr.toml").write_bytes(text if isinstance(text, bytes) else text.encode())
    refused = run("serve", tmp_path / "data", "--config", tmp_path / "bebr.toml")
    assert refused.exit_code == 2 and refused.stderr.count("\n") == 1
    assert refused.stderr.startswith("error: ") and said in refused.stderr, refused.stderr


def test_a_variable_that_names_no_option_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("BEBR_SERVE_SLOWMS", "1")
    refused = run("serve", tmp_path / "data")
    assert refused.stderr.endswith(
        "BEBR_SERVE_SLOWMS in the environment names no option: did you mean BEBR_SERVE_SLOW_MS?\n"
    )


def test_sighup_reads_the_file_again_and_keeps_what_holds_if_it_is_wrong(tmp_path):
    file, log = tmp_path / "bebr.toml", tmp_path / "log"
    file.write_text("port = 0\ngrace = 1")
    command = [sys.executable, "-m", "bebr", "serve", str(tmp_path / "data"), "--config", str(file), "--no-front"]

    def says(words: str) -> None:
        until = time.monotonic() + 30
        while words not in log.read_text():
            assert time.monotonic() < until, log.read_text()
            time.sleep(0.02)

    with (
        log.open("w") as errors,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True, env=dict(os.environ)) as server,
    ):
        try:
            target = server.stdout.readline().split()[-1]
            with bebr.connect(target) as client:
                client.collections()
                assert log.read_text() == ""
                file.write_text("port = 0\nslow_ms = 0")
                server.send_signal(signal.SIGHUP)
                says("SIGHUP: settings read")
                client.collections()
                says("slow call")
                file.write_text("slow_ms = -1")
                server.send_signal(signal.SIGHUP)
                says("SIGHUP: settings stay as they were: slow_ms is -1: want a number of milliseconds")
        finally:
            server.send_signal(signal.SIGTERM)
        assert server.wait(timeout=30) == 0


def test_http_is_an_option_like_the_others(tmp_path, monkeypatch):
    pytest.importorskip("uvicorn", reason="HTTP needs uvicorn: pip install 'bebr[http]'")
    refused = run("serve", tmp_path / "data", "--http", "70000")
    assert refused.exit_code == 2 and "--http: got 70000, wanted 0 to 65535" in refused.stderr
    monkeypatch.setenv("BEBR_SERVE_HTTP", "0")
    command = [sys.executable, "-m", "bebr", "serve", str(tmp_path / "data"), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as served:
        try:
            lines = [served.stdout.readline() for _ in range(2)]
        finally:
            served.terminate()
    assert lines[0].startswith("listening on 127.0.0.1:") and lines[1].startswith("http at http://127.0.0.1:")
