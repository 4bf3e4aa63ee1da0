"""The client for VectorDBBench against a server, loaded as that project loads it, with a stand-in for what it needs."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

from benchmarks.vectordb_bench import register, run
from tests.serve.fronted import Fronted

FOLDER = Path(register.__file__).parent
OPS = SimpleNamespace(NonFilter="NonFilter", NumGE="NumGE", StrEqual="Label")


@pytest.fixture
def client(monkeypatch):
    """The class."""
    for name, holds in {
        "vectordb_bench": {},
        "vectordb_bench.backend": {},
        "vectordb_bench.backend.clients": {},
        "vectordb_bench.backend.clients.api": {"VectorDB": type("VectorDB", (), {})},
        "vectordb_bench.backend.filter": {"Filter": object, "FilterOp": OPS},
    }.items():
        module = ModuleType(name)
        module.__dict__.update(holds)
        monkeypatch.setitem(sys.modules, name, module)
    spec = importlib.util.spec_from_file_location("vectordb_bench.backend.clients.bebr.bebr", FOLDER / "bebr.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.Bebr


def test_a_case_with_and_without_filters(client, tmp_path, vectors):
    served = Fronted(tmp_path)
    try:
        made = {"metric": "cosine", "keep": "float16", "bytes_per_vector": None, "index": "auto", "target_recall": 0.9}
        config = SimpleNamespace(index_param=lambda: made, search_param=lambda: {"rescore": 100})
        for rows in (100, 2000):  # the second case drops what the first one left
            case = client(64, {"target": served.target, "token": None}, config, "bench", True, with_scalar_labels=True)
            with case.init():
                labels = [f"label_{i % 10}" for i in range(rows)]
                ids = list(range(rows))
                assert case.insert_embeddings(vectors[:rows].tolist(), ids, labels_data=labels) == (rows, None)
                case.optimize(rows)
        with case.init():
            for at in (3, 1907):
                query = vectors[at].tolist()
                assert case.search_embedding(query, 10)[0] == at
                case.prepare_filter(SimpleNamespace(type=OPS.NumGE, int_value=1900))
                found = case.search_embedding(query, 10)
                assert len(found) == 10 and min(found) >= 1900 and (found[0] == at) == (at >= 1900)
                case.prepare_filter(SimpleNamespace(type=OPS.StrEqual, label_value="label_7"))
                assert {id % 10 for id in case.search_embedding(query, 10)} == {7}
                case.prepare_filter(SimpleNamespace(type=OPS.StrEqual, label_value="none"))
                assert case.search_embedding(query, 10) == []
                case.prepare_filter(SimpleNamespace(type=OPS.NonFilter))
            with pytest.raises(ValueError, match="want NonFilter, NumGE, Label"):
                case.prepare_filter(SimpleNamespace(type="Other"))
            inserted, error = case.insert_embeddings(np.ones((2, 5)).tolist(), [1, 2])
            assert inserted == 0 and isinstance(error, ValueError)
    finally:
        served.stop()


def test_it_is_registered_once_in_each_place():
    text = (
        'class DB(Enum):\n    Other = "Other"\n\n    @property\n    def init_cls(self):\n        if self == DB.Other:\n'
        "            return Other\n\n    @property\n    def config_cls(self):\n        if self == DB.Other:\n"
        "            return OtherConfig\n\n    def case_config_cls(\n        self, index_type=None\n    ):\n"
        "        if self == DB.Other:\n            return Case\n"
    )
    changed = register.registered(text)
    assert changed.count('    Bebr = "Bebr"\n') == 1 and changed.count("if self == DB.Bebr:") == 3
    compile(changed, "clients", "exec")
    with pytest.raises(ValueError, match=r"want VectorDBBench 2\.0"):
        register.registered("class DB(Enum): ...\n")
    command = register.with_command(
        'from .batch_cli import BatchCli\n\ncli.add_command(A)\n\n\nif __name__ == "__main__":\n'
    )
    assert "clients.bebr.cli import Bebr\n" in command and "cli.add_command(Bebr)\n\n\nif" in command


def test_a_label_has_its_own_nearest_rows(tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    run.write(tmp_path, 3000, 8)
    read = lambda name: parquet.read_table(tmp_path / f"{name}.parquet").to_pydict()  # noqa: E731
    rows, labels = np.array(read("train")["emb"]), np.array(read("scalar_labels")["labels"])
    query = np.array(read("test")["emb"][5])
    order = np.argsort(-(rows @ query) / np.linalg.norm(rows, axis=1))
    assert read("neighbors")["neighbors_id"][5][:10] == order[:10].tolist()
    for label, share in run.LABELS.items():
        assert abs((labels == label).mean() - share) < 0.01
        found = read(f"neighbors_labels_{label}")["neighbors_id"][5]
        assert found[:10] == order[labels[order] == label][:10].tolist()
