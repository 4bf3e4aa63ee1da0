"""TLS as clients see it: whom they trust and what they show. openssl makes the certificates."""

from __future__ import annotations

import pickle
import shutil
import subprocess

import pytest

import bebr
from bebr.serve.keys import KeyFile, Role
from tests import commands

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")


@pytest.fixture(scope="module")
def pem(tmp_path_factory):
    """A folder: ca.pem; server and client, each signed by it, as NAME.pem and NAME.key; stranger.pem, another CA."""
    folder = tmp_path_factory.mktemp("pem")

    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)

    new = ("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2")
    for name in ("ca", "stranger"):
        openssl(*new, "-keyout", f"{name}.key", "-out", f"{name}.pem", "-subj", f"/CN={name}")
    for name, names in (
        ("server", "DNS:localhost,IP:127.0.0.1"),
        ("client", "DNS:client"),
        ("named", "DNS:index.test"),
    ):
        signed = ("-CA", "ca.pem", "-CAkey", "ca.key", "-addext", f"subjectAltName={names}")
        plain = ("-addext", "basicConstraints=critical,CA:FALSE")
        openssl(*new, "-keyout", f"{name}.key", "-out", f"{name}.pem", "-subj", f"/CN={name}", *signed, *plain)
    return folder


@pytest.fixture(scope="module")
def secured(start, tmp_path_factory, pem):
    """A server with a certificate, and a key `token`."""
    path = tmp_path_factory.mktemp("secured")
    token = KeyFile(path).create("app", Role.ADMIN)
    with start(path, tls_certificate=str(pem / "server.pem"), tls_key=str(pem / "server.key")) as server:
        server.token = token
        yield server


def test_the_authority_that_signed_the_servers_certificate_is_named_by_its_file(secured, pem):
    for tls in (pem / "ca.pem", str(pem / "ca.pem"), bebr.TLS(ca=pem / "ca.pem")):
        with bebr.connect(secured.target, tls=tls, token=secured.token) as client:
            assert client.collections() == []


@pytest.mark.parametrize("tls", [None, True, "stranger.pem"], ids=["none", "known authorities", "another"])
def test_a_server_that_is_not_trusted_is_not_talked_to(secured, pem, tls):
    with pytest.raises(ConnectionError):
        bebr.connect(secured.target, tls=pem / tls if isinstance(tls, str) else tls, token=secured.token, retries=0)


def test_a_certificate_of_another_name_needs_that_name(start, tmp_path, pem):
    with start(tmp_path, tls_certificate=str(pem / "named.pem"), tls_key=str(pem / "named.key")) as server:
        with pytest.raises(ConnectionError):
            bebr.connect(server.target, tls=pem / "ca.pem", retries=0)
        with bebr.connect(server.target, tls=bebr.TLS(ca=pem / "ca.pem", server_name="index.test")) as client:
            assert client.collections() == []


def test_a_server_may_ask_for_the_clients_certificate(start, tmp_path, pem):
    files = {name: str(pem / file) for name, file in
             (("tls_certificate", "server.pem"), ("tls_key", "server.key"), ("tls_client_ca", "ca.pem"))}  # fmt: skip
    with start(tmp_path, **files) as server:
        with pytest.raises(ConnectionError):
            bebr.connect(server.target, tls=pem / "ca.pem", retries=0)
        mutual = bebr.TLS(ca=pem / "ca.pem", certificate=pem / "client.pem", key=pem / "client.key")
        with bebr.connect(server.target, tls=mutual) as client:
            assert client.collections() == []


def test_a_pickled_client_leaves_its_token_out_and_takes_it_from_the_environment(secured, pem, monkeypatch):
    monkeypatch.delenv("BEBR_TOKEN", raising=False)
    with bebr.connect(secured.target, tls=pem / "ca.pem", token=secured.token) as client:
        sent = pickle.dumps(client)
    assert secured.token.encode() not in sent
    with pytest.raises(ValueError, match="set BEBR_TOKEN"):
        pickle.loads(sent)
    monkeypatch.setenv("BEBR_TOKEN", secured.token)
    with pickle.loads(sent) as client:
        assert client.collections() == []


def test_the_command_line_takes_token_and_authority_from_options_or_variables(secured, pem, monkeypatch):
    for name in ("BEBR_TOKEN", "BEBR_TLS_CA"):
        monkeypatch.delenv(name, raising=False)
    options = ("--tls-ca", pem / "ca.pem", "--token", secured.token)
    assert commands.done("db", *options, "list", secured.target).stdout == ""
    monkeypatch.setenv("BEBR_TOKEN", secured.token)
    monkeypatch.setenv("BEBR_TLS_CA", str(pem / "ca.pem"))
    assert commands.done("db", "list", secured.target).stdout == ""
    monkeypatch.setenv("BEBR_TOKEN", "bebr_wrong")
    said = commands.refused("db", "list", secured.target)
    assert "no key of this server" in said and "bebr_wrong" not in said


def test_what_is_wrong_with_tls_is_named(pem):
    with pytest.raises(ValueError, match="want both or neither"):
        bebr.TLS(certificate="client.pem")
    with pytest.raises(ValueError, match="tls is 7"):
        bebr.connect("localhost", tls=7)
    with pytest.raises(FileNotFoundError, match="nowhere"):
        bebr.connect("localhost", tls="nowhere.pem")
