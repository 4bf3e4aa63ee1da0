"""Models of other libraries through the one interface: tiny ones, made in the test, saved and loaded again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bebr import models
from bebr.models import weights

torch = pytest.importorskip("torch", reason="torch is absent: pip install 'bebr[models]'")

PICTURES = [np.random.default_rng(seed).integers(0, 255, (40, 50, 3), dtype=np.uint8) for seed in range(3)]


@pytest.fixture(scope="module")
def sentences(tmp_path_factory) -> Path:
    """A sentence-transformers model: a table of word vectors for ten words, and their mean."""
    pytest.importorskip("sentence_transformers")
    from sentence_transformers import SentenceTransformer

    try:
        from sentence_transformers.sentence_transformer.modules import Pooling, WordEmbeddings
        from sentence_transformers.sentence_transformer.modules.tokenizer import WhitespaceTokenizer
    except ImportError:  # where they were before version 5
        from sentence_transformers.models import Pooling, WordEmbeddings
        from sentence_transformers.models.tokenizer import WhitespaceTokenizer

    words = [f"w{i}" for i in range(10)]
    table = np.random.default_rng(0).standard_normal((10, 6)).astype(np.float32)
    layers = [WordEmbeddings(WhitespaceTokenizer(words), table), Pooling(6)]
    folder = tmp_path_factory.mktemp("sentences")
    SentenceTransformer(modules=layers, device="cpu").save(str(folder))
    return folder


def test_sentence_transformers_from_a_folder(sentences, tmp_path):
    producer = models.load("sentence-transformers", weights=sentences)
    assert (producer.dim, producer.metric, producer.modality) == (6, "cosine", "text")
    x = producer.embed(["w1 w2", "w3", "w1 w2 w3 w4"], batch_size=2)
    assert np.allclose(np.linalg.norm(x, axis=1), 1, atol=1e-6)
    table = np.random.default_rng(0).standard_normal((10, 6)).astype(np.float32)
    assert np.allclose(x[1], table[3] / np.linalg.norm(table[3]), atol=1e-6)
    producer.save(tmp_path / "copy")
    again = models.load("sentence-transformers", weights=tmp_path / "copy")
    assert again.version == producer.version and np.array_equal(again.embed(["w1 w2"]), producer.embed(["w1 w2"]))


def test_sentence_transformers_without_a_folder(tmp_path):
    with pytest.raises(ValueError, match="weights: the producer 'sentence-transformers' needs it"):
        models.load("sentence-transformers")
    with pytest.raises(FileNotFoundError, match=r"weights: .*none: no such folder; wanted a model that sentence-"):
        models.load("sentence-transformers", weights=tmp_path / "none")


NETWORKS = [("torchvision", "mobilenet_v3_small", 1024), ("timm", "mobilenetv3_small_050", 1024)]


@pytest.fixture(scope="module", params=NETWORKS, ids=lambda one: one[0])
def network(request, tmp_path_factory):
    """(producer's name, model's name, dim, a weight file of seeded numbers)."""
    library, size, dim = request.param
    module = pytest.importorskip(library, reason=f"{library} is absent: pip install 'bebr[vision]'")
    torch.manual_seed(0)
    made = module.models.get_model(size) if library == "torchvision" else module.create_model(size)
    path = tmp_path_factory.mktemp(library)
    weights.save(path, made.state_dict(), {})
    return library, size, dim, path / weights.WEIGHTS


def bare(name: str, size: str, path: Path):
    """The library's own way to the features: its model without the last layer."""
    if name == "timm":
        import timm

        network = timm.create_model(size, num_classes=0)
        network.load_state_dict({key: value for key, value in weights.read(path).items() if "classifier" not in key})
    else:
        import torchvision

        network = torchvision.models.get_model(size)
        network.load_state_dict(weights.read(path))
        network.classifier[-1] = torch.nn.Identity()
    return network.eval()


def test_pictures_to_features(network, tmp_path):
    name, size, dim, path = network
    producer = models.load(name, size=size, weights=path)
    assert (producer.dim, producer.modality) == (dim, "image")
    x = producer.embed(PICTURES, batch_size=2)
    assert x.shape == (3, dim) and x.dtype == np.float32
    headless = bare(name, size, path)
    from PIL import Image

    for row, pixels in zip(x, PICTURES, strict=True):
        with torch.inference_mode():
            expected = headless(producer._transform(Image.fromarray(pixels))[None])[0].numpy()
        assert np.abs(row - expected).max() < 1e-4 * np.abs(expected).max() > 0
    assert np.abs(x[0] - x[1]).max() > 1e-2 * np.abs(x[0]).max()
    producer.save(tmp_path)
    again = models.load(name, size=size, weights=tmp_path)
    assert again.version == producer.version and np.array_equal(again.embed(PICTURES, 2), x)


def test_weights_are_loaded_whole_or_not_at_all(network, tmp_path):
    name, size, _, path = network
    with pytest.raises(
        ValueError, match=f"weights: got none, but {name} brings none of its own; wanted a .safetensors"
    ):
        models.load(name, size=size)
    with pytest.raises(FileNotFoundError, match="no such file or folder"):
        models.load(name, size=size, weights=tmp_path / "none.pth")
    with pytest.raises(KeyError, match=f"size: {name} has no .*'resnet0'"):
        models.load(name, size="resnet0", weights=path)
    state = weights.read(path)
    first, second, *_ = state
    state["extra"] = state.pop(first)
    state[second] = torch.zeros(3, 1)
    weights.save(tmp_path, state, {})
    message = rf"1 missing: {first}; 1 unexpected: extra; 1 of another shape: {second} \[3, 1\] \(wanted"
    with pytest.raises(ValueError, match=message):
        models.load(name, size=size, weights=tmp_path)


class Code:
    """What a pickle may not bring along."""


def test_files_that_hold_more_than_tensors_are_refused(tmp_path):
    torch.save({"state_dict": {}, "args": Code()}, tmp_path / "a.pth")
    with pytest.raises(ValueError, match=r"a.pth: not a state dict of tensors .*convert them to .safetensors"):
        weights.read(tmp_path / "a.pth")
    torch.save({"epoch": 3}, tmp_path / "b.pth")
    with pytest.raises(ValueError, match=r"b.pth: wanted a flat dict of name to tensor"):
        weights.read(tmp_path / "b.pth")
    (tmp_path / "c.safetensors").write_bytes(b"\xff" * 40)
    with pytest.raises(ValueError, match=r"c.safetensors: not a readable safetensors file"):
        weights.read(tmp_path / "c.safetensors")
    (tmp_path / "d.h5").write_bytes(b"")
    with pytest.raises(ValueError, match=r"got suffix '.h5', wanted .safetensors, .bin, .ckpt, .pt or .pth"):
        weights.read(tmp_path / "d.h5")
    torch.save({"a": torch.ones(2)}, tmp_path / "e.pt")
    assert weights.read(tmp_path / "e.pt")["a"].tolist() == [1, 1]


def test_the_digest_is_of_the_numbers_and_their_names():
    state = {"a": torch.ones(2), "b": torch.zeros(2, 2, dtype=torch.bfloat16)}
    same = {"b": state["b"].clone(), "a": state["a"].clone()}
    assert weights.digest(state) == weights.digest(same)
    for other in ({**state, "a": torch.ones(3)}, {**state, "a": torch.ones(2, dtype=torch.int32)}, {"a": state["a"]}):
        assert weights.digest(other) != weights.digest(state)
