"""RILS as a producer: files of the published class key by key, pictures and texts in one space, training."""

from __future__ import annotations

import argparse
import json

import numpy as np
import pytest

from bebr import models
from bebr.models import weights

torch = pytest.importorskip("torch", reason="torch is absent: pip install 'bebr[models]'")
image = pytest.importorskip("PIL.Image", reason="Pillow is absent: pip install 'bebr[models]'")

from bebr.models.rils.config import SIZES, Config  # noqa: E402
from bebr.models.rils.data import Pairs  # noqa: E402
from bebr.models.rils.producer import Rils  # noqa: E402
from bebr.models.rils.training import OBJECTIVES, fit  # noqa: E402

TEXTS = ["a red dog", "cat", "", "dog cat dog cat dog cat dog cat dog cat dog"]


@pytest.fixture
def folder(small, generated, merges):
    """A generated checkpoint as ``save`` lays it out."""
    weights.save(merges.parent, generated(small), small.to_json())
    return merges.parent


@pytest.fixture
def published(small, monkeypatch):
    """The published size, small: its files are half a gigabyte."""
    monkeypatch.setitem(SIZES, "vit-b-16", small)


def pictures(count):
    random = np.random.default_rng(7)
    return [random.integers(0, 256, (30, 20 + 9 * i, 3 + i % 2), dtype=np.uint8) for i in range(count)]


def test_texts_and_pictures_come_into_one_space(folder, tmp_path, small):
    producer = models.load("rils", weights=folder)
    assert "rils" in models.names()
    assert (producer.name, producer.dim, producer.metric, producer.modality) == ("rils", 20, "cosine", "image|text")
    texts, shown = producer.embed(TEXTS), producer.embed(pictures(5))
    for x, count in ((texts, 4), (shown, 5)):
        assert x.dtype == np.float32 and x.shape == (count, 20)
        assert np.allclose(np.linalg.norm(x, axis=1), 1, atol=1e-6)
    assert np.abs(producer.embed(TEXTS[::-1], batch_size=1)[::-1] - texts).max() < 1e-6
    assert np.abs(producer.embed(pictures(5), batch_size=2) - shown).max() < 1e-6
    image.fromarray(pictures(1)[0]).save(tmp_path / "a.png")
    assert np.allclose(producer.embed([tmp_path / "a.png"])[0], shown[0], atol=1e-6)


def test_a_picture_is_resized_and_cut_as_published(folder, small):
    producer = models.load("rils", weights=folder)
    transforms = pytest.importorskip("torchvision.transforms")
    theirs = transforms.Compose(
        [
            transforms.Resize(small.image_size),
            transforms.CenterCrop(small.image_size),
            transforms.ToTensor(),
            transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        ]
    )
    random = np.random.default_rng(8)
    for height, width in ((24, 24), (31, 50), (50, 31), (100, 25), (7, 9)):
        picture = image.fromarray(random.integers(0, 256, (height, width, 3), dtype=np.uint8))
        assert torch.allclose(producer.pixels([picture])[0], theirs(picture), atol=1e-6)


def test_saved_and_loaded_is_the_same(folder, tmp_path):
    producer = models.load("rils", weights=folder)
    producer.save(tmp_path / "copy")
    again = models.load("rils", weights=tmp_path / "copy")
    assert again.version == producer.version
    assert np.array_equal(again.embed(TEXTS), producer.embed(TEXTS))
    assert np.array_equal(again.embed(pictures(2)), producer.embed(pictures(2)))


@pytest.mark.parametrize("prefix", ["", "module."])
def test_a_training_file_of_the_published_class_loads(small, generated, merges, tmp_path, published, prefix):
    state = generated(small)
    run = {
        "epoch": 25,
        "state_dict": {prefix + key: value.half() for key, value in state.items()},
        "optimizer": {"state": {0: {"step": torch.tensor(1.0)}}, "param_groups": [{"lr": 3e-3, "params": [0]}]},
        "scaler": {"scale": 65536.0},
        "best_acc1": 40.0,
        "args": argparse.Namespace(model="RILS_VITB16", lr=3e-3, betas=(0.9, 0.98)),
    }
    torch.save(run, tmp_path / "checkpoint_best.pt")
    producer = models.load("rils", weights=tmp_path / "checkpoint_best.pt", size="vit-b-16", vocabulary=merges)
    assert producer.version == weights.digest({key: value.half().float() for key, value in state.items()})[:16]
    assert producer.embed(TEXTS).shape == (4, 20)


class Runs:
    """A pickle that would run code."""

    def __reduce__(self):
        return (print, ("ran",))


def test_files_that_would_run_code_are_refused(small, generated, merges, tmp_path, published, capsys):
    torch.save({"state_dict": generated(small), "args": Runs()}, tmp_path / "bad.pt")
    with pytest.raises(
        ValueError, match=r"bad.pt: not a state dict of tensors .*files that hold other objects are not"
    ):
        models.load("rils", weights=tmp_path / "bad.pt", size="vit-b-16", vocabulary=merges)
    assert "ran" not in capsys.readouterr().out


def test_wrong_weights_are_refused_by_name(small, generated, folder):
    state = generated(small)
    state["visual.decoder_blocks.2.norm1.weight"] = torch.ones(16)
    state["visual.blocks.0.attn.qkv.bias"] = state.pop("visual.blocks.0.attn.q_bias")
    state["text_projection"] = torch.ones(20, 32)
    weights.save(folder, state, small.to_json())
    message = (
        r"1 missing: visual.blocks.0.attn.q_bias; 2 unexpected: visual.blocks.0.attn.qkv.bias, "
        r"visual.decoder_blocks.2.norm1.weight; 1 of another shape: text_projection \[20, 32\] \(wanted \[32, 20\]\)"
    )
    with pytest.raises(ValueError, match=message):
        models.load("rils", weights=folder)


def test_what_is_missing_is_named(small, generated, folder, merges, tmp_path):
    def refused(error, message, **options):
        with pytest.raises(error, match=message):
            models.load("rils", **{"weights": folder, **options})

    refused(ValueError, "weights: got none, but rils brings none of its own; wanted a folder that save", weights=None)
    refused(FileNotFoundError, "no such file or folder", weights=tmp_path / "none")
    refused(ValueError, "size: got 'huge', wanted vit-b-16, vit-l-16, tiny", size="huge")
    refused(ValueError, "size: got 'vit-l-16', but .*config.json describes another", size="vit-l-16")
    torch.save({"module.logit_scale": torch.ones(()), "logit_scale": torch.ones(())}, tmp_path / "one.pt")
    refused(ValueError, "has no config.json: give vit-b-16 or vit-l-16", weights=tmp_path / "one.pt")
    refused(ValueError, "is there twice, with and without 'module.'", weights=tmp_path / "one.pt", size="vit-b-16")
    torch.save({"epoch": 3}, tmp_path / "one.pt")
    refused(ValueError, "wanted a flat dict of name to tensor", weights=tmp_path / "one.pt", size="vit-b-16")
    raw = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**raw, "producer": "simcse"}))
    refused(ValueError, "is of the producer 'simcse', wanted 'rils'")
    del raw["context"]
    (folder / "config.json").write_text(json.dumps(raw))
    refused(ValueError, "config.json: says no context")
    (folder / "config.json").write_text(json.dumps(small.to_json()))
    merges.unlink()
    refused(FileNotFoundError, "has none; wanted merges.txt or bpe_simple_vocab_16e6.txt.gz, or its path")


def test_a_vocabulary_of_another_model_is_refused(small, generated):
    from bebr.models.rils.network import Network
    from bebr.models.rils.tokens import Tokens

    with pytest.raises(ValueError, match="vocabulary: has 514 entries, but the network 520: they are not of one model"):
        Rils(Network(small), Tokens([], 12))


# Training

COLOURS = {
    "red": (220, 30, 30),
    "green": (30, 200, 30),
    "blue": (30, 30, 220),
    "yellow": (230, 220, 20),
    "black": (0, 0, 0),
    "white": (255, 255, 255),
}
TINY = Config(16, 4, 32, 1, 2, 16, 1, 32, 1, 2, 10, 600, 16)


def flags() -> Pairs:
    """Flags of two halves, named by their colours from the top down: 30 of them, twice each."""
    names, shown = [], []
    for top, above in COLOURS.items():
        for bottom, below in COLOURS.items():
            if top != bottom:
                flag = np.empty((16, 16, 4), np.uint8)
                flag[:8], flag[8:], flag[..., 3] = (*above, 0), (*below, 0), 255
                names.append([f"{top} over {bottom}", f"a flag, {top} over {bottom}"])
                shown.append([flag, flag])
    return Pairs(np.array(shown), names)


def untrained(seed=0) -> Rils:
    return Rils.fresh([text for texts in flags().texts for text in texts], TINY, seed)


def test_a_batch_is_drawn_again_by_its_seed():
    pairs = flags()
    rows = np.array([3, 0, 29])
    pixels, texts = pairs.draw(rows, 16, np.random.default_rng(1))
    again, said = pairs.draw(rows, 16, np.random.default_rng(1))
    assert torch.equal(pixels, again) and texts == said
    assert pixels.shape == (3, 3, 16, 16) and pixels.dtype == torch.float32
    assert not torch.equal(pixels, pairs.draw(rows, 16, np.random.default_rng(2))[0])
    assert all(text in pairs.texts[row] for row, text in zip(rows, texts, strict=True))


def test_texts_come_to_find_pictures(one_thread):
    pairs, producer = flags(), untrained()
    shown, names = list(pairs.pictures[:, 0]), [texts[0] for texts in pairs.texts]

    def found() -> float:
        return float(((producer.embed(names) @ producer.embed(shown).T).argmax(1) == np.arange(30)).mean())

    before, version = found(), producer.version
    log = fit(producer, pairs, steps=250, batch_size=30, learning_rate=3e-3)
    assert producer.version != version and not producer.network.training
    assert before < 0.2 and found() > 0.8
    assert np.mean(log.contrast[-20:]) < 0.5 * log.contrast[0]
    # the gate opens: few pictures are found at first, most in the end, and what is foretold of them comes near
    assert np.mean(log.found[:5]) < 0.2 and np.mean(log.found[-20:]) > 0.6
    assert all(np.isfinite(log.reconstruction)) and len(log.found) == 250


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_training_repeats_itself(objective, one_thread):
    runs = []
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    for seed in (4, 4, 5):
        producer = untrained()
        log = fit(producer, flags(), objective, steps=3, batch_size=20, seed=seed)
        runs.append((log.contrast, log.reconstruction, producer.version))
        assert len(log.contrast) == (0 if objective == "mae" else 3)
        assert len(log.reconstruction) == (0 if objective == "clip" else 3)
    assert runs[0] == runs[1] != runs[2]
    assert torch.equal(torch.rand(1), expected)  # the caller's random numbers are left alone


def test_reconstruction_comes_in_late(one_thread):
    late = fit(untrained(), flags(), steps=4, batch_size=20, start=0.5)
    alone = fit(untrained(), flags(), "clip", steps=4, batch_size=20)
    assert len(late.contrast) == 4 and len(late.reconstruction) == 2
    assert late.contrast[:3] == alone.contrast[:3]  # two steps by the same; the third batch is judged before its own


def test_each_objective_trains_its_own_parts(one_thread):
    texts = ("transformer", "token_embedding", "positional_embedding", "ln_final")
    for objective, steps, still in (
        ("clip", 3, ("visual.decoder", "visual.mask_token")),
        ("mae", 3, (*texts, "image_projection", "text_projection", "visual.decoder_pred", "logit_scale")),
        ("rils", 60, ("none",)),  # its gate opens late
    ):
        producer = untrained()
        before = {key: value.clone() for key, value in producer.network.state_dict().items()}
        fit(producer, flags(), objective, steps=steps, batch_size=30, learning_rate=3e-3, warmup=0)
        after = producer.network.state_dict()
        unmoved = {key for key in after if torch.equal(after[key], before[key])}
        fixed = {"visual.pos_embed", "visual.decoder_pos_embed"}
        assert unmoved - fixed == {key for key in after if key.startswith(still)} - fixed, objective


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"objective": "dino"}, r"objective: got 'dino', wanted rils, rils-random, clip, mae, mae\+clip"),
        ({"batch_size": 31}, "batch_size: got 31, wanted 2 to 30, the number of items"),
        ({"steps": 0}, "steps, warmup: got 0, 0.1, wanted at least 1"),
        ({"start": 1}, "start: got 1 for 'rils', wanted 0 to below 1"),
        ({"start": 0.5, "objective": "clip"}, "start: got 0.5 for 'clip', wanted 0 to below 1, and 0"),
        ({"mask": 0.99}, "mask: got 0.99, which keeps 0 of 16 patches"),
    ],
)
def test_settings_out_of_range_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        fit(untrained(), flags(), **{"batch_size": 4, **options})


def test_pairs_that_do_not_fit_are_named():
    pairs = flags()
    with pytest.raises(ValueError, match=r"pictures: got float64 \[30, 2, 16, 16, 4\], wanted uint8 \[items, views"):
        Pairs(pairs.pictures.astype(float), pairs.texts)
    with pytest.raises(ValueError, match="texts: got 29, wanted one or more for each of 30 items"):
        Pairs(pairs.pictures, pairs.texts[1:])
    with pytest.raises(ValueError, match="texts: got 30, wanted one or more"):
        Pairs(pairs.pictures, [*pairs.texts[1:], []])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
def test_on_a_gpu_the_vectors_are_the_same(folder):
    here, there = (models.load("rils", weights=folder, device=device) for device in ("cpu", "cuda"))
    assert here.version == there.version
    assert np.abs(here.embed(TEXTS) - there.embed(TEXTS)).max() < 1e-4
    assert np.abs(here.embed(pictures(3)) - there.embed(pictures(3))).max() < 1e-4
    log = fit(Rils.fresh(["red over blue"], TINY, device="cuda"), flags(), steps=2, batch_size=10)
    assert all(np.isfinite(log.contrast))


# What training adds up


def objective(name: str):
    """One batch's loss as training takes it, and what it logged."""
    from bebr.models.rils.training import Log, _Objective

    producer, log = untrained(), Log()
    producer.network.image_projection.data += 1.0  # away from where every picture is lost
    pixels, texts = flags().draw(np.arange(30), 16, np.random.default_rng(0))
    torch.manual_seed(0)
    loss = _Objective(producer, name, 4, 30, torch.Generator().manual_seed(0))(pixels, texts, log)
    return float(loss.detach()), log


def test_losses_are_weighed_as_published(one_thread):
    for name in ("rils", "rils-random", "mae+clip"):
        loss, log = objective(name)
        assert log.reconstruction[0] > 0
        assert loss == pytest.approx(log.contrast[0] + 0.5 * log.reconstruction[0], abs=1e-5)
    assert objective("clip")[0] == pytest.approx(objective("rils")[1].contrast[0], abs=1e-6)
    loss, log = objective("mae")
    assert loss == pytest.approx(log.reconstruction[0]) and not log.contrast


def test_pixels_foretold_are_each_patch_by_itself():
    from bebr.models.training import patch_pixels

    pixels = torch.from_numpy(np.random.default_rng(0).standard_normal((2, 3, 16, 16)))
    found = patch_pixels(pixels, 4)
    for place in range(16):
        top, left = 4 * (place // 4), 4 * (place % 4)
        square = pixels[1, :, top : top + 4, left : left + 4].permute(1, 2, 0).reshape(-1).numpy()
        wanted = (square - square.mean()) / np.sqrt(square.var(ddof=1) + 1e-6)
        assert np.abs(found[1, place].numpy() - wanted).max() < 1e-12


@pytest.mark.parametrize(("start", "end"), [(9.0, np.log(100)), (-3.0, 0.0)])
def test_the_scale_is_held(start, end, one_thread):
    producer = untrained()
    producer.network.logit_scale.data.fill_(start)
    fit(producer, flags(), "clip", steps=1, batch_size=30)
    assert float(producer.network.logit_scale.detach()) == pytest.approx(end)


def test_transparent_pictures_lie_on_white_or_a_plain_colour():
    clear = np.zeros((40, 1, 16, 16, 4), np.uint8)
    clear[..., :3] = 77  # the colour of what is not there
    pixels, _ = Pairs(clear, [["x"]] * 40).draw(np.arange(40), 16, np.random.default_rng(0))
    assert float(pixels.std((2, 3)).max()) < 1e-4  # one colour a picture
    white = (pixels.mean((2, 3)) > 1.2).all(1)  # mixing may darken it to .8
    assert 10 < int(white.sum()) < 35
    clear[:, :, 4:12, 4:12] = (0, 255, 0, 255)
    edges, _ = Pairs(clear, [["x"]] * 40).draw(np.arange(40), 16, np.random.default_rng(0))
    assert float((edges - pixels).abs().amax((1, 2, 3)).min()) > 0.5  # what is there is seen on all
