"""GVT as a producer: files of every published layout key by key, one vector or several, distillation."""

from __future__ import annotations

import json

import numpy as np
import pytest

import bebr
from bebr import models
from bebr.models import weights

torch = pytest.importorskip("torch", reason="torch is absent: pip install 'bebr[models]'")
image = pytest.importorskip("PIL.Image", reason="Pillow is absent: pip install 'bebr[models]'")

from bebr.models.gvt.config import SIZES, Config, vision_manifest  # noqa: E402
from bebr.models.gvt.distillation import MASK, OBJECTIVES, Objective, rils_teacher  # noqa: E402
from bebr.models.gvt.layouts import timm_key  # noqa: E402
from bebr.models.gvt.producer import Gvt, normalised  # noqa: E402
from bebr.models.gvt.training import crops, fit  # noqa: E402
from bebr.models.gvt.vision import angles  # noqa: E402


@pytest.fixture
def folder(small, generated, tmp_path):
    """Generated weights as ``save`` lays them out."""
    weights.save(tmp_path / "own", generated(small), {**small.to_json(), "producer": "gvt"})
    return tmp_path / "own"


@pytest.fixture
def published(small, monkeypatch):
    """The published size, small: its files are a gigabyte."""
    monkeypatch.setitem(SIZES, "vit-l-14", small)


def pictures(count):
    random = np.random.default_rng(7)
    return [random.integers(0, 256, (30, 20 + 9 * i, 3 + i % 2), dtype=np.uint8) for i in range(count)]


def test_a_picture_is_one_vector_or_several(folder, tmp_path, small):
    producer = models.load("gvt", weights=folder)
    assert "gvt" in models.names()
    assert (producer.name, producer.dim, producer.metric, producer.modality) == ("gvt", 32, "cosine", "image")
    shown = pictures(5)
    vectors, latents, tokens = producer.embed(shown), producer.latents(shown), producer.tokens(shown)
    assert (vectors.shape, latents.shape, tokens.shape) == ((5, 32), (5, 4, 32), (5, small.patches, 32))
    for x in (vectors, latents, tokens):
        assert x.dtype == np.float32 and np.allclose(np.linalg.norm(x, axis=-1), 1, atol=1e-6)
    counted = []
    again = producer.latents(shown, batch_size=2, progress=lambda done, total: counted.append((done, total)))
    assert np.abs(again - latents).max() < 1e-5 and counted == [(2, 5), (4, 5), (5, 5)]
    assert np.abs(producer.embed(shown[::-1], batch_size=1)[::-1] - vectors).max() < 1e-5
    image.fromarray(shown[0]).save(tmp_path / "a.png")
    assert np.allclose(producer.latents([tmp_path / "a.png"])[0], latents[0], atol=1e-5)


def test_latents_are_searched_by_maxsim(folder):
    producer = models.load("gvt", weights=folder)
    shown = pictures(12)
    latents = producer.latents(shown)
    binarizer = bebr.train(np.repeat(latents.reshape(-1, 32), 12, 0), bytes_per_vector=16, metric="cosine")
    index = bebr.MaxSimIndex(bebr.FlatIndex(binarizer))
    index.add(latents)
    assert index.search(latents, 1).ids[:, 0].tolist() == list(range(12))


def test_the_vector_is_the_mean_of_all_tokens(folder, reference, small, generated):
    producer = models.load("gvt", weights=folder)
    state = {key: value.double().numpy() for key, value in generated(small).items()}
    opened = image.fromarray(pictures(1)[0])
    tokens = reference.tokens(producer.pixels([opened])[0].double().numpy(), state, small)
    mean = tokens.mean(0)
    assert np.abs(producer.embed([opened])[0] - mean / np.linalg.norm(mean)).max() < 1e-5
    wanted = tokens[1:] / np.linalg.norm(tokens[1:], axis=1, keepdims=True)
    assert np.abs(producer.tokens([opened])[0] - wanted).max() < 1e-5
    wanted = reference.resample(tokens, state, small)
    wanted /= np.linalg.norm(wanted, axis=1, keepdims=True)
    assert np.abs(producer.latents([opened])[0] - wanted).max() < 1e-5


def test_a_picture_is_squeezed_as_published(folder, small):
    producer = models.load("gvt", weights=folder)
    transforms = pytest.importorskip("torchvision.transforms")
    theirs = transforms.Compose(
        [
            transforms.Resize((small.image_size,) * 2, transforms.InterpolationMode.BICUBIC),
            transforms.ToTensor(),
            transforms.Normalize((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)),
        ]
    )
    random = np.random.default_rng(8)
    for height, width in ((24, 24), (31, 50), (100, 25), (7, 9)):
        picture = image.fromarray(random.integers(0, 256, (height, width, 3), dtype=np.uint8))
        assert torch.allclose(producer.pixels([picture])[0], theirs(picture), atol=1e-6)


# Files


def same(producer, state):
    found = producer.network.state_dict()
    assert set(found) == set(state)
    assert all(torch.equal(found[key], value.float()) for key, value in state.items())


def tables(start, config):
    table = angles(config.head_width, config.across)
    places = [f"{start}rope", *(f"{start}blocks.{i}.attn.rope" for i in range(config.layers))]
    return {f"{place}.freqs_cos": table.cos().half() for place in places} | {
        f"{place}.freqs_sin": table.sin().half() for place in places
    }


def test_saved_and_loaded_is_the_same(folder, tmp_path):
    producer = models.load("gvt", weights=folder)
    producer.save(tmp_path / "copy")
    again = models.load("gvt", weights=tmp_path / "copy")
    assert again.version == producer.version
    assert np.array_equal(again.latents(pictures(2)), producer.latents(pictures(2)))
    assert not any("rope" in key or "cosines" in key for key in weights.read(tmp_path / "copy" / weights.WEIGHTS))


def test_the_published_model_loads(small, generated, tmp_path, published):
    state = generated(small)
    d = small.width
    file = {key: value.half() for key, value in state.items()} | tables("visual_encoder.", small)
    file |= {f"visual_encoder.fc_norm.{part}": torch.ones(d) for part in ("weight", "bias")}
    file |= {"visual_encoder.head.weight": torch.ones(1000, d), "visual_encoder.head.bias": torch.ones(1000)}
    file |= {"llm_proj.weight": torch.ones(4096, d), "llm_proj.bias": torch.ones(4096), "input_ln.bias": torch.ones(9)}
    file |= {"llm.model.embed_tokens.weight": torch.ones(5, 3)}
    torch.save(file, tmp_path / "gvt.pth")
    same(models.load("gvt", weights=tmp_path / "gvt.pth"), {key: value.half() for key, value in state.items()})


@pytest.mark.parametrize("norm", ["norm", "fc_norm"])
@pytest.mark.parametrize("wrapped", [True, False])
def test_eva02_clip_loads_without_a_resampler(small, generated, tmp_path, published, norm, wrapped):
    state = {key: value for key, value in generated(small).items() if not key.startswith("perceiver.")}
    file = {key.replace("visual_encoder.", "visual."): value for key, value in state.items()}
    file |= {f"visual.{norm}.{part}": file.pop(f"ln_vision.{part}") for part in ("weight", "bias")}
    file |= tables("visual.", small) | {"visual.head.weight": torch.ones(7, small.width)}
    file |= {"text.positional_embedding": torch.ones(3), "logit_scale": torch.ones(())}
    torch.save({"model": file} if wrapped else file, tmp_path / "eva.pt")
    producer = models.load("gvt", weights=tmp_path / "eva.pt", size="vit-l-14")
    same(producer, state)
    assert producer.embed(pictures(2)).shape == (2, 32)
    with pytest.raises(ValueError, match="latents: these weights are an encoder's alone: they have no resampler"):
        producer.latents(pictures(1))
    producer.save(tmp_path / "own")
    assert models.load("gvt", weights=tmp_path / "own", size="vit-l-14").version == producer.version


@pytest.mark.parametrize("names", [timm_key, str])
def test_an_encoder_by_itself_loads(small, generated, tmp_path, published, names):
    """In timm's names, or in EVA-02's with nothing before them."""
    state = {key: value for key, value in generated(small).items() if not key.startswith("perceiver.")}
    file = {names(key): state[f"visual_encoder.{key}"] for key in vision_manifest(small)}
    file |= {f"norm.{part}": state[f"ln_vision.{part}"] for part in ("weight", "bias")}
    file |= {"head.weight": torch.ones(7, small.width), "head.bias": torch.ones(7)}
    torch.save(file, tmp_path / "eva.pt")
    same(models.load("gvt", weights=tmp_path / "eva.pt"), state)


def test_positions_of_another_size_are_refused(small, generated, tmp_path, published):
    file = generated(small) | tables("visual_encoder.", small)
    file["visual_encoder.blocks.1.attn.rope.freqs_sin"] += 0.01
    torch.save(file, tmp_path / "gvt.pth")
    with pytest.raises(ValueError, match=r"blocks.1.attn.rope.freqs_sin \[9, 16\] is not the table of 3 x 3 patches"):
        models.load("gvt", weights=tmp_path / "gvt.pth")


def test_wrong_weights_are_refused_by_name(small, generated, folder, tmp_path, published):
    state = generated(small)
    state["visual_encoder.blocks.0.attn.k_bias"] = state.pop("visual_encoder.blocks.0.attn.q_bias")
    state["visual_encoder.blocks.2.norm1.weight"] = torch.ones(32)
    state["perceiver.latents"] = torch.ones(5, 32)
    message = (
        r"1 missing: visual_encoder.blocks.0.attn.q_bias; 2 unexpected: visual_encoder.blocks.0.attn.k_bias, "
        r"visual_encoder.blocks.2.norm1.weight; 1 of another shape: perceiver.latents \[5, 32\] \(wanted \[4, 32\]\)"
    )
    weights.save(folder, state, small.to_json())
    torch.save(state, tmp_path / "gvt.pth")
    for path in (folder, tmp_path / "gvt.pth"):
        with pytest.raises(ValueError, match=message):
            models.load("gvt", weights=path)
    torch.save({"visual.cls_token": torch.ones(1, 1, 32), "visual.neck.weight": torch.ones(2)}, tmp_path / "eva.pt")
    with pytest.raises(ValueError, match=r"missing: visual.pos_embed.*1 unexpected: visual.neck.weight"):
        models.load("gvt", weights=tmp_path / "eva.pt")


def test_what_is_missing_is_named(small, folder, tmp_path):
    def refused(error, message, **options):
        with pytest.raises(error, match=message):
            models.load("gvt", **{"weights": folder, **options})

    refused(ValueError, "weights: got none, but gvt brings none of its own; wanted a folder that save", weights=None)
    refused(FileNotFoundError, "no such file or folder", weights=tmp_path / "none")
    refused(ValueError, "size: got 'huge', wanted vit-l-14, tiny", size="huge")
    refused(ValueError, "size: got 'tiny', but .*config.json describes another", size="tiny")
    torch.save({"conv1.weight": torch.ones(2)}, tmp_path / "one.pt")
    refused(
        ValueError,
        r"one.pt: of no known layout: wanted keys that start with visual_encoder",
        weights=tmp_path / "one.pt",
    )
    raw = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**raw, "producer": "rils"}))
    refused(ValueError, "is of the producer 'rils', wanted 'gvt'")
    del raw["hidden"]
    (folder / "config.json").write_text(json.dumps(raw))
    refused(ValueError, "config.json: says no hidden")


def test_items_that_are_no_pictures_are_named(folder, tmp_path):
    producer = models.load("gvt", weights=folder)
    for method in (producer.embed, producer.latents, producer.tokens):
        with pytest.raises(ValueError, match=r"items\[1\]: got str, wanted a pathlib.Path"):
            method([pictures(1)[0], "a text"])
        with pytest.raises(FileNotFoundError, match=r"items\[0\]: .*none.png: no such file"):
            method([tmp_path / "none.png"])
        with pytest.raises(ValueError, match="batch_size: got 0"):
            method(pictures(1), batch_size=0)
        assert len(method([])) == 0


# Training

TINY = Config(16, 4, 32, 2, 2, 85, 2, 1, 2, 8)


def stripes(count=40):
    """Pictures of two colours, an edge between them."""
    random = np.random.default_rng(1)
    shown = np.repeat(random.integers(0, 256, (count, 1, 1, 3), dtype=np.uint8), 16, 1).repeat(16, 2)
    for one in shown:
        at = int(random.integers(3, 13))
        one[:at] = random.integers(0, 256, 3, dtype=np.uint8)
    return shown


def colours(pixels):
    """A teacher whose token of a patch is a fixed image of its mean colour; the class token of all's."""
    cut = torch.nn.functional.avg_pool2d(pixels, 4).flatten(2).transpose(1, 2)
    tokens = torch.cat([cut.mean(1, keepdim=True), cut], 1)
    mixing = torch.randn(3, 12, generator=torch.Generator().manual_seed(0))
    return torch.sin(3 * tokens @ mixing)


def teacher_of(objective):
    return None if objective == "pixels" else colours


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_what_is_asked_for_is_learned(objective, one_thread):
    producer = Gvt.fresh(TINY, seed=0)
    version = producer.version
    log = fit(producer, stripes(), teacher_of(objective), objective, 40, 20, 3e-3, scale=(0.5, 1.0))
    assert producer.version != version and not producer.network.training
    assert len(log.loss) == 40 and log.seconds > 0
    assert np.mean(log.loss[-10:]) < 0.6 * np.mean(log.loss[:3])
    assert all(parameter.requires_grad for parameter in producer.network.parameters())


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_training_repeats_itself(objective, one_thread):
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    runs = []
    for seed in (4, 4, 5):
        producer = Gvt.fresh(TINY)
        log = fit(producer, stripes(), teacher_of(objective), objective, 3, 10, drop_path=0.5, seed=seed)
        runs.append((log.loss, producer.version))
    assert runs[0] == runs[1] != runs[2]
    assert torch.equal(torch.rand(1), expected)  # the caller's random numbers are left alone


def test_the_resampler_is_not_trained(one_thread):
    producer = Gvt.fresh(TINY)
    before = {key: value.clone() for key, value in producer.network.state_dict().items()}
    fit(producer, stripes(), colours, steps=5, batch_size=10, warmup=0)
    after = producer.network.state_dict()
    unmoved = {key for key in after if torch.equal(after[key], before[key])}
    assert unmoved == {key for key in after if key.startswith("perceiver.")}


def objective_of(name, teacher=colours):
    producer = Gvt.fresh(TINY)
    return producer, Objective(producer.network, name, None if name == "pixels" else teacher, MASK[name], 0)


@pytest.mark.parametrize("name", ["mask", "pixels"])
def test_what_is_hidden_is_not_seen(name):
    """Changing what the encoder would see of hidden patches changes no loss; of the others, it does."""
    pixels = torch.from_numpy(stripes(2)).permute(0, 3, 1, 2).float() / 255

    def loss(changed: str | None) -> float:
        _, arm = objective_of(name)
        away = _away(arm, 2)[..., None]
        embed = arm.network.visual_encoder.embed
        where = {"hidden": away, "seen": ~away, None: away & False}[changed]
        arm.network.visual_encoder.embed = lambda given: torch.where(where, 9.0, embed(given))
        return float(arm(pixels).detach())

    assert loss("hidden") == loss(None) != pytest.approx(loss("seen"), abs=1e-4)


def _away(arm, count):
    from bebr.models.gvt.distillation import hidden

    return hidden(count, 16, arm.mask, torch.Generator().manual_seed(0))


def test_the_arms_against_the_reference(reference):
    pixels = torch.from_numpy(stripes(3)).permute(0, 3, 1, 2).float() / 255
    wanted = [[reference.whitened(token) for token in one] for one in colours(pixels).double().numpy()]
    for name in ("distil", "mask"):
        producer, arm = objective_of(name)
        state = {key: value.double().numpy() for key, value in producer.network.state_dict().items()}
        head = {key: value.detach().double().numpy() for key, value in arm.head.state_dict().items()}
        away = _away(arm, 3).numpy() if name == "mask" else None
        foretold = []
        for row in range(3):
            patches = reference.embed(normalised(pixels)[row].double().numpy(), state, TINY)
            if away is not None:
                patches[away[row]] = arm.mask_token.detach().double().numpy()[0, 0]
            tokens = reference.norm(reference.encode(patches, state, TINY), state, "ln_vision", 1e-5)
            foretold.append(tokens @ head["weight"].T + head["bias"])
        only = None if away is None else np.concatenate([np.zeros((3, 1), bool), away], 1)
        assert float(arm(pixels).detach()) == pytest.approx(reference.distance(foretold, wanted, only), abs=1e-5)


def test_rils_teaches(one_thread):
    from bebr.models.rils.config import Config as RilsConfig
    from bebr.models.rils.producer import Rils

    pytest.importorskip("tokenizers", reason="tokenizers is absent: pip install 'bebr[models]'")
    rils = Rils.fresh(["a stripe"], RilsConfig(16, 4, 24, 1, 2, 16, 1, 32, 1, 2, 10, 600, 16))
    version = rils.version
    tokens = rils_teacher(rils)(torch.zeros(2, 3, 16, 16))
    assert tokens.shape == (2, 17, 24)
    with pytest.raises(ValueError, match="reads pictures of 16 pixels, the student's have 64"):
        fit(Gvt.fresh(), stripes(), rils_teacher(rils), steps=1, batch_size=10)
    log = fit(Gvt.fresh(TINY), stripes(), rils_teacher(rils), steps=20, batch_size=10, learning_rate=3e-3)
    rils.refresh()
    assert log.loss[-1] < log.loss[0] and rils.version == version


def test_crops_show_what_they_are_of():
    shown = np.zeros((400, 20, 20, 3), np.uint8)
    shown[..., 0], shown[..., 1] = (
        np.arange(20) * 10,
        (np.arange(20) * 10)[:, None],
    )  # red tells the column, green the row
    found = crops(shown, 16, np.random.default_rng(0), (0.3, 0.6)) * 25.5
    rounding = 1e-4  # of the interpolation, in float32
    assert found.shape == (400, 3, 16, 16) and found.min() >= -rounding and found.max() <= 19 + rounding
    across, down = found[:, 0, 8, -1] - found[:, 0, 8, 0], found[:, 1, -1, 8] - found[:, 1, 0, 8]
    assert 140 < int((across < 0).sum()) < 260 and bool((down > 0).all())  # half are mirrored, none upside down
    area = across.abs() * down / (19 * 15 / 16) ** 2 * (19 / 20) ** 2
    assert float(area.min()) > 0.25 and float(area.max()) < 0.66
    assert torch.equal(found, crops(shown, 16, np.random.default_rng(0), (0.3, 0.6)) * 25.5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"objective": "dino"}, "objective: got 'dino', wanted distil, mask, pixels"),
        ({"teacher": None}, "teacher: 'distil' needs one"),
        ({"objective": "pixels"}, "teacher: 'pixels' has none"),
        ({"teacher": lambda pixels: pixels}, r"teacher: gives \[1, 3, 16, 16\] for a picture, wanted \[1, 17, width\]"),
        ({"batch_size": 41}, "batch_size: got 41, wanted 1 to 40, the number of pictures"),
        ({"steps": 0}, "steps, warmup, drop_path: got 0, 0.1, 0.0, wanted at least 1"),
        ({"mask": 0.4}, "mask: got 0.4, but 'distil' hides nothing"),
        ({"objective": "mask", "mask": 0.01}, "mask: got 0.01, which hides 0 of 16 patches"),
        ({"scale": (0.0, 1.0)}, r"scale: got \(0.0, 1.0\), wanted 0 < least <= most <= 1"),
        ({"pictures": np.zeros((9, 16, 16, 4), np.uint8)}, r"pictures: got uint8 \[9, 16, 16, 4\], wanted uint8"),
    ],
)
def test_settings_out_of_range_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        fit(Gvt.fresh(TINY), **{"pictures": stripes(), "teacher": colours, "batch_size": 4, **options})


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
def test_on_a_gpu_the_vectors_are_the_same(folder):
    here, there = (models.load("gvt", weights=folder, device=device) for device in ("cpu", "cuda"))
    assert here.version == there.version
    assert np.abs(here.embed(pictures(3)) - there.embed(pictures(3))).max() < 1e-4
    assert np.abs(here.latents(pictures(3)) - there.latents(pictures(3))).max() < 1e-4
    log = fit(Gvt.fresh(TINY, device="cuda"), stripes(), colours_on_its_device, steps=2, batch_size=10)
    assert all(np.isfinite(log.loss))


def colours_on_its_device(pixels):
    return colours(pixels.cpu()).to(pixels.device)
