"""Certificates that openssl makes for a test."""

from __future__ import annotations

import subprocess
from pathlib import Path

_NAMES = (("server", "DNS:localhost,IP:127.0.0.1"), ("client", "DNS:client"), ("named", "DNS:index.test"))


def make_certificates(folder: Path) -> Path:
    """ca.pem; server, client and named, each signed by it, as NAME.pem and NAME.key; stranger.pem, another CA."""

    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)

    new = ("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2")
    for name in ("ca", "stranger"):
        openssl(*new, "-keyout", f"{name}.key", "-out", f"{name}.pem", "-subj", f"/CN={name}")
    for name, names in _NAMES:
        signed = ("-CA", "ca.pem", "-CAkey", "ca.key", "-addext", f"subjectAltName={names}")
        plain = ("-addext", "basicConstraints=critical,CA:FALSE")
        openssl(*new, "-keyout", f"{name}.key", "-out", f"{name}.pem", "-subj", f"/CN={name}", *signed, *plain)
    return folder
