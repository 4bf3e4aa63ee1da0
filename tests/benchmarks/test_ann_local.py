"""The project's runner driven from here: a stand-in for its tree, bytes that names tell, cells that are lost."""

from __future__ import annotations

import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

from benchmarks import ann_local

FACTS = {"cpu": "a processor"}


@pytest.mark.parametrize(
    ("algorithm", "parameters", "size"),
    [
        ("bebr-ivf", "bebr ivf {'bits': 8, 'nlist': 256} {'nprobe': 4}", 52),
        ("bebr-graph", "bebr graph {'bits': 4, 'max_degree': 32} {}", 27 + 128),
        ("hnswlib", "hnswlib ({'M': 16, 'efConstruction': 500}, 'efQuery': 10)", 200 + 128),
        ("faiss-ivf", "FaissIVF(n_list=512, n_probe=5)", 208),
        ("faiss-ivfpqfs", "FaissIVFPQfs(n_list=512, n_probe=5, k_reorder=0)", 20),
        ("faiss-ivfpqfs", "FaissIVFPQfs(n_list=512, n_probe=5, k_reorder=10)", 220),
        ("scann", "scann n_leaves=1000 avq_threshold=0.20 dims_per_block=1", 225),
        ("annoy", "Annoy(n_trees=100, search_k=400)", 600),
        ("another", "of any name", 200),
    ],
)
def test_bytes_of_a_row_follow_from_the_settings(algorithm, parameters, size):
    assert ann_local.least_bytes(algorithm, parameters, 50) == size


def test_settings_that_do_not_tell_them_are_refused():
    with pytest.raises(ValueError, match="parameters of voyager: got 'x'"):
        ann_local.least_bytes("voyager", "x", 50)


def told(algorithm, parameters, recall, speed):
    return {"algorithm": algorithm, "parameters": parameters, "k-nn": recall, "qps": speed, "build": "3.5"}


def test_cells_that_are_lost_are_named():
    ivf, peer = "bebr ivf {{'bits': 8, 'nlist': 256}} {{'nprobe': {}}}", "voyager ({'M': 16, 'efConstruction': 500})"
    points = [
        *(told("bebr-ivf", ivf.format(n), recall, speed) for n, recall, speed in ((1, 0.85, 9000), (4, 0.92, 4000))),
        *(told("voyager", peer, recall, speed) for recall, speed in ((0.89, 5000), (0.96, 3000))),
        told("faiss-ivf", "FaissIVF(n_list=512, n_probe=5)", 0.93, 1000),
    ]
    rows = ann_local.rows_of(points, "glove-6b-50-angular", FACTS, 2)
    assert [(row.engine, row.library) for row in rows[:2]] == [("bebr-ivf 52 B", "bebr"), ("voyager 328 B", "voyager")]
    assert rows[0].build_seconds == 3.5 and [figure.recall for figure in rows[0].figures] == [0.85, 0.92]
    assert ann_local.losses(rows) == ["glove-6b-50-angular, 0.95: voyager 328 B, not reached by ours"]


DATASETS = """
    import numpy
    DATASETS = {"random-xs-20-angular": lambda path: open(path, "w").close()}
    def get_dataset_fn(name):
        import os
        os.makedirs("data", exist_ok=True)
        return f"data/{name}.hdf5"
    def write_output(train, test, path, distance):
        assert (train.shape, test.shape, distance) == ((3, 50), (2, 50), "angular")
        open(path, "w").close()
"""
RUN = """
    import os, sys
    from ann_benchmarks.datasets import DATASETS
    name = sys.argv[sys.argv.index("--dataset") + 1]
    assert name in DATASETS and "--local" in sys.argv and os.environ["OMP_NUM_THREADS"] == "1"
    open("ran", "a").write(f"{name} {'--batch' in sys.argv}\\n")
"""
EXPORT = """
    import sys
    lines = ["algorithm,parameters,k-nn,qps,build,dataset"]
    for name in ("random-xs-20-angular", "glove-6b-50-angular"):
        lines += [f"bebr-ivf,\\"{{'bits': 8}} {n}\\",0.9{n},{900 - n},1,{name}" for n in (1, 6)]
        lines.append(f"faiss-ivf,x,0.97,100,1,{name}")
    open(sys.argv[sys.argv.index("--output") + 1], "w").write("\\n".join(lines))
"""


def test_a_run_makes_the_sets_asks_the_project_and_tells_its_figures(tmp_path, monkeypatch, capsys):
    files = {"ann_benchmarks/datasets.py": DATASETS, "run.py": RUN, "data_export.py": EXPORT}
    (tmp_path / "ann_benchmarks" / "algorithms").mkdir(parents=True)
    for name, code in files.items():
        (tmp_path / name).write_text(textwrap.dedent(code))
    rows = np.zeros((5, 50), np.float32)
    name = "glove-6b-50-angular"
    monkeypatch.setitem(ann_local.SETS, name, ("angular", 50, lambda: (rows[:3], rows[3:])))
    arguments = [str(tmp_path), "--sets", ann_local.SMALL, name, "--batch", "--json", str(tmp_path / "points.json")]
    assert ann_local.main(arguments) == 0
    assert (tmp_path / "ann_benchmarks/algorithms/bebr/module.py").is_file()
    assert (tmp_path / "ran").read_text().split("\n")[:-1] == [
        f"{one} {batch}" for one in (ann_local.SMALL, name) for batch in (False, True)
    ]
    said = capsys.readouterr().out
    assert "bebr-ivf 52 B" in said and "faiss-ivf 208 B" in said and "0 cells lost" in said
    assert '"engine": "bebr-ivf 22 B"' in (tmp_path / "points.json").read_text()
    (tmp_path / "data_export.py").write_text("")
    assert ann_local.main(arguments) == 1 and "the project stored no result" in capsys.readouterr().out


def test_a_folder_that_is_not_the_project_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="no ann_benchmarks/algorithms; wanted a copy of ann-benchmarks"):
        ann_local.Project(tmp_path, Path(sys.executable), None)
