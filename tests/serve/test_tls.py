"""TLS as clients see it: whom they trust and what they show. openssl makes the certificates."""

from __future__ import annotations

import asyncio
import pickle
import shutil
import subprocess
from pathlib import Path

import pytest

import bebr
from bebr.serve.keys import KeyFile, Role
from bebr.serve.tls import Tls
from tests import commands
from tests.certificates import make_certificates
from tests.serve.conftest import FRONT

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")


@pytest.fixture(scope="module")
def pem(tmp_path_factory):
    return make_certificates(tmp_path_factory.mktemp("pem"))


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


@pytest.mark.parametrize("tls", [True, "stranger.pem"], ids=["known authorities", "another"])
def test_a_server_that_is_not_trusted_is_not_talked_to(secured, pem, tls):
    with pytest.raises(ConnectionError) as error:
        bebr.connect(secured.target, tls=pem / tls if isinstance(tls, str) else tls, token=secured.token, retries=0)
    assert "speak" not in str(error.value)


@pytest.mark.parametrize("awaited", [False, True])
@pytest.mark.parametrize("front", [True, False] if FRONT else [False])
def test_a_client_without_tls_of_a_server_with_it_is_told_so_and_the_other_way_round(
    start, tmp_path, pem, front, awaited
):
    def refused(target: str, **tls: object) -> str:
        with pytest.raises(ConnectionError) as error:
            if awaited:
                asyncio.run(bebr.connect_async(target, retries=0, **tls))
            else:
                bebr.connect(target, retries=0, **tls)
        return str(error.value)

    files = {"tls_certificate": str(pem / "server.pem"), "tls_key": str(pem / "server.key")}
    with start(tmp_path / "tls", front=front, **files) as server:
        said = "it speaks TLS: connect with tls= (--tls-ca), the certificate of the authority that signed its own"
        assert refused(server.target) == f"no answer from the server at {server.target}, for {said}"
    with start(tmp_path / "mutual", front=front, **files, tls_client_ca=str(pem / "ca.pem")) as server:
        assert said in refused(server.target)
    with start(tmp_path / "plain", front=front) as server:
        said = (
            f"no answer from the server at {server.target}, for it does not speak TLS: connect without tls= (--tls-ca)"
        )
        assert refused(server.target, tls=pem / "ca.pem") == said
    assert "TLS" not in refused(server.target)  # it is gone


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


def test_snapshots_of_a_server_with_keys_and_tls_are_made_from_the_command_line(start, tmp_path, pem, bz, monkeypatch):
    for name in ("BEBR_TOKEN", "BEBR_TLS_CA"):
        monkeypatch.delenv(name, raising=False)
    with bebr.open(tmp_path / "data") as db:
        db.create_collection("docs", bz)
    token = KeyFile(tmp_path / "data").create("ops", Role.ADMIN)
    files = {"tls_certificate": str(pem / "server.pem"), "tls_key": str(pem / "server.key")}
    with start(tmp_path / "data", snapshots=str(tmp_path / "place"), **files) as server:
        options = ("snapshot", "--tls-ca", pem / "ca.pem", "--token", token)
        assert "1 collection in" in commands.done(*options, "create", server.target).stdout
        assert "docs at" in commands.done(*options, "list", server.target).stdout
        commands.done(*options, "restore", server.target, "--collection", "docs", "--as", "back")
        assert "back" in commands.done("db", *options[1:], "list", server.target).stdout


@pytest.fixture(scope="module")
def wrong(pem):
    """Files that are not what they should be, by name, with what is said of each."""
    (pem / "text.pem").write_text("no certificate\n")
    lines = (pem / "server.pem").read_text().splitlines()
    (pem / "cut.pem").write_text("\n".join([*lines[:3], lines[-1]]))
    locked = ("pkcs8", "-topk8", "-in", "server.key", "-out", "locked.key", "-passout", "pass:x")
    subprocess.run(["openssl", *locked], cwd=pem, check=True, capture_output=True)
    good = {"tls_certificate": "server.pem", "tls_key": "server.key", "tls_client_ca": "ca.pem"}
    return good, [
        ({"tls_certificate": "text.pem"}, r"tls_certificate is '\S+text.pem': it has no certificate in PEM"),
        ({"tls_certificate": "server.key"}, r"tls_certificate is '\S+server.key': it has no certificate in PEM"),
        ({"tls_certificate": "cut.pem"}, r"tls_certificate is '\S+cut.pem': a certificate in it is damaged"),
        ({"tls_key": "text.pem"}, r"tls_key is '\S+text.pem': it has no key in PEM"),
        (
            {"tls_key": "client.key"},
            r"tls_key is '\S+client.key': it is not the key of .* '\S+server.pem'",
        ),
        ({"tls_key": "locked.key"}, r"tls_key is '\S+locked.key': it is encrypted"),
        ({"tls_client_ca": "text.pem"}, r"tls_client_ca is '\S+text.pem': it has no certificate in PEM"),
    ]


def test_a_server_names_the_file_that_is_not_what_it_should_be(pem, wrong, tmp_path):
    good, cases = wrong
    for changed, words in cases:
        files = {name: Path(pem / file) for name, file in {**good, **changed}.items()}
        with pytest.raises(ValueError, match=words):
            Tls.of(*files.values())
    options = ("--tls-cert", pem / "text.pem", "--tls-key", pem / "server.key", "--port", 0)
    assert "has no certificate in PEM" in commands.refused("serve", tmp_path, *options)
    assert not list(tmp_path.iterdir())  # before anything is made


def test_a_client_names_the_file_that_is_not_what_it_should_be(pem, wrong):
    with pytest.raises(ValueError, match=r"tls\.ca is '\S+text.pem': it has no certificate"):
        bebr.connect("localhost", tls=pem / "text.pem")
    with pytest.raises(ValueError, match=r"tls\.key is '\S+server.key': it is not the key"):
        bebr.connect("localhost", tls=bebr.TLS(certificate=pem / "client.pem", key=pem / "server.key"))


def test_what_is_wrong_with_tls_is_named(pem):
    with pytest.raises(ValueError, match="want both or neither"):
        bebr.TLS(certificate="client.pem")
    with pytest.raises(ValueError, match="tls is 7"):
        bebr.connect("localhost", tls=7)
    with pytest.raises(FileNotFoundError, match="nowhere"):
        bebr.connect("localhost", tls="nowhere.pem")
