"""What `deploy/` has for operators fits the command that it starts. No image is built here."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
from configparser import ConfigParser
from pathlib import Path

import pytest

from bebr.serve.server import GRACE
from tests.commands import run

ROOT = Path(__file__).parents[2]
UNIT = ROOT / "deploy" / "bebr.service"


def service() -> dict[str, str]:
    """The unit's section of that name."""
    unit = ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read(UNIT)
    return dict(unit["Service"])


def instructions() -> list[tuple[str, str]]:
    """Those of the Dockerfile, lines that go on joined."""
    text = re.sub(r"\\\n\s*", "", (ROOT / "deploy" / "Dockerfile").read_text())
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return [(name, rest) for name, _, rest in (line.partition(" ") for line in lines)]


def test_systemd_knows_the_unit():
    if shutil.which("systemd-analyze") is None:
        pytest.skip("no systemd-analyze")
    checked = subprocess.run(["systemd-analyze", "verify", str(UNIT)], capture_output=True, text=True)
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")


def test_the_unit_starts_bebr_and_gives_it_time_to_stop(tmp_path):
    about = service()
    env, bebr, verb, folder, option, file = shlex.split(about["ExecStart"])
    assert (env, bebr, verb, option) == ("/usr/bin/env", "bebr", "serve", "--config")
    assert folder == f"/var/lib/{about['StateDirectory']}" and file == "/etc/bebr.toml"
    (tmp_path / "bebr.toml").write_text("metrics = 9464\n")
    printed = run(verb, folder, option, tmp_path / "bebr.toml", "--print-config")
    assert printed.exit_code == 0 and "metrics = 9464  # file" in printed.stdout, printed.stderr
    assert float(about["TimeoutStopSec"]) > GRACE


def test_the_image_is_made_of_what_is_there_and_starts_bebr():
    steps = instructions()
    stages = [rest.partition(" AS ")[2] for name, rest in steps if name == "FROM"]
    assert stages == ["build", ""] and len({rest.split()[0] for name, rest in steps if name == "FROM"}) == 1
    assert "--from=build /opt/bebr /opt/bebr" in [rest for name, rest in steps if name == "COPY"]
    assert '"/source[$EXTRAS]"' in dict(steps[:5])["RUN"]
    project = (ROOT / "pyproject.toml").read_text()
    extras = dict(steps)["ARG"].removeprefix("EXTRAS=").split(",")
    assert extras and all(f"\n{extra} = [" in project for extra in extras)
    last = dict(steps)
    (program,) = json.loads(last["ENTRYPOINT"])
    assert program == "/opt/bebr/bin/bebr" and '\nbebr = "bebr.cli' in project
    printed = run(*json.loads(last["CMD"]), "--print-config")
    assert printed.exit_code == 0 and 'host = "0.0.0.0"  # flag' in printed.stdout, printed.stderr
    assert f"port = {last['EXPOSE'].split()[0]}  # default" in printed.stdout
    assert last["VOLUME"] == json.loads(last["CMD"])[1]


def test_what_is_built_here_stays_out_of_the_image():
    """A build folder has the paths of the machine where it was made, with which no other can build."""
    ignored = (ROOT / "deploy" / "Dockerfile.dockerignore").read_text().split()
    assert {"build", ".venv*", ".git", "data"} <= set(ignored)
