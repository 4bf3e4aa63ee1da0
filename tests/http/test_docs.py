"""docs/http.md says what is: its examples run, and its table has every route."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from bebr.http.app import routes
from bebr.http.endpoint import STATUS

PAGE = (Path(__file__).parents[2] / "docs" / "http.md").read_text()


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_the_examples_run(start, tmp_path):
    [script] = re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)
    with start(tmp_path, http=True) as server:
        script = script.replace("http://127.0.0.1:8080", server.http.rstrip("/"))
        head, *calls = re.split(r"^(?=curl )", script, flags=re.MULTILINE)
        for call in calls:
            command, _, wanted = call.partition("\n# ")
            done = subprocess.run(["bash", "-c", head + command], capture_output=True, text=True, check=True)
            answer = json.loads(done.stdout)
            assert "error" not in answer, (command, answer)
            if wanted:
                assert answer == json.loads(wanted), command
    assert len(calls) > 6


def test_the_table_has_every_route():
    for route in routes(dict):
        base, _, last = route.path.rpartition("/")
        rows = [line for line in PAGE.splitlines() if line.startswith("| `") and f"`{route.verb}" in line]
        whole = any(f"`{route.path}`" in row or f" {route.path}`" in row for row in rows)
        assert whole or any(base in row and f"`/{last}`" in row for row in rows), (route.verb, route.path)


def test_every_status_is_explained():
    for code, status in STATUS.items():
        if code not in ("OK", "CANCELLED"):  # who is gone reads no answer
            assert f"`{code}`" in PAGE and str(status) in PAGE, code
