"""DSU: statistics drawn anew, in the networks that train with it; published files key by key; recipes; adaptation."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from bebr import models
from bebr.models import weights

torch = pytest.importorskip("torch", reason="torch is absent: pip install 'bebr[models]'")
image = pytest.importorskip("PIL.Image", reason="Pillow is absent: pip install 'bebr[models]'")

from bebr.models.dsu.adaptation import Adaptation, measured  # noqa: E402
from bebr.models.dsu.config import SIZES, Config, manifest  # noqa: E402
from bebr.models.dsu.data import identities, moved  # noqa: E402
from bebr.models.dsu.network import Network  # noqa: E402
from bebr.models.dsu.perturbation import (  # noqa: E402
    FixedNoise,
    MixStyle,
    Uncertainty,
    plugged,
    statistics,
    token_places,
)
from bebr.models.dsu.producer import Dsu  # noqa: E402
from bebr.models.dsu.training import fit, soft_triplet  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_thread")
SMALL = Config(16, 12, 10, 4, 1, True)


def maps(shape=(5, 3, 4, 2), seed=0):
    return torch.from_numpy(np.random.default_rng(seed).normal(2, 3, shape))


def generated(config, seed=0):
    """Weights of seeded numbers, made from the manifest and not from the network."""
    generator, state = torch.Generator().manual_seed(seed), {}
    for key, shape in manifest(config).items():
        value = torch.randn(shape, generator=generator)
        if len(shape) == 1:
            value = 1 + 0.1 * value if not key.endswith(("bias", "mean")) else 0.1 * value
        elif len(shape) == 4:
            value = value * (2 / value[0].numel()) ** 0.5
        state[key] = value.abs() if key.endswith("running_var") or key.startswith("adaptation") else value
    return state


def pictures(count, seed=7):
    random = np.random.default_rng(seed)
    return random.integers(0, 256, (count, 16, 12, 3), dtype=np.uint8)


# Statistics


def test_statistics_are_drawn_as_far_apart_as_the_batch_s_own():
    x = maps()
    got = Uncertainty(1.0, seed=3)(x).numpy()
    drawn = torch.Generator().manual_seed(3)
    torch.rand((), generator=drawn)  # the coin
    e = [torch.randn(5, 3, generator=drawn).double().numpy() for _ in range(2)]
    y = x.numpy().reshape(5, 3, 8)
    mu, sigma = y.mean(2), np.sqrt(y.var(2, ddof=1) + 1e-6)
    beta = mu + e[0] * np.sqrt(mu.var(0, ddof=1) + 1e-6)
    gamma = sigma + e[1] * np.sqrt(sigma.var(0, ddof=1) + 1e-6)
    wanted = gamma[..., None] * (y - mu[..., None]) / sigma[..., None] + beta[..., None]
    assert np.abs(got.reshape(5, 3, 8) - wanted).max() < 1e-12
    assert np.array_equal(Uncertainty(1.0, seed=3)(x).numpy(), got)


def test_the_gradient_flows_through_the_statistics():
    x = maps((2, 2, 2, 1)).requires_grad_()
    assert torch.autograd.gradcheck(lambda one: Uncertainty(1.0, seed=1)(one), x)


@pytest.mark.parametrize("kind", [Uncertainty, MixStyle, FixedNoise])
def test_what_has_no_spread_stays_as_it_is(kind):
    for x in (maps((1, 3, 4, 4)), maps((6, 3, 1, 1))):
        assert kind(1.0)(x) is x
    assert kind(0.0)(maps()) is not None and torch.equal(kind(0.0)(maps()), maps())
    assert not torch.equal(kind(1.0)(maps()), maps())
    one = kind(0.5, seed=2)
    x = maps((2, 1, 2, 1))
    changed = sum(one(x) is not x for _ in range(100))
    assert 30 < changed < 70
    with pytest.raises(ValueError, match=r"p: got 1.5, wanted a chance"):
        kind(1.5)


def test_rivals_draw_by_their_own_rules():
    x = maps((6, 3, 8, 8))
    mean, _ = statistics(x)
    before = torch.random.get_rng_state()
    mixed, _ = statistics(MixStyle(1.0, seed=1)(x))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert (mixed >= mean.min(0)[0] - 1e-3).all() and (mixed <= mean.max(0)[0] + 1e-3).all()
    alike = x[:1].expand(6, -1, -1, -1)
    moved_by = (statistics(FixedNoise(1.0, seed=1)(alike))[0] - statistics(alike)[0]).abs().mean()
    assert moved_by > 0.5  # of a deviation of 3, though the batch has no spread at all
    assert (statistics(Uncertainty(1.0, seed=1)(alike))[0] - statistics(alike)[0]).abs().max() < 0.01


def test_it_is_plugged_into_a_network_while_that_trains():
    network = Network(SMALL)
    network.initialize(0)
    network.eval()
    x, keys = torch.rand(4, 3, 16, 12), list(network.state_dict())
    plain = network(x)
    with plugged(network.places, Uncertainty(1.0)):
        assert not torch.allclose(network(x), plain) and list(network.state_dict()) == keys
        assert torch.allclose(network(x[:1]), plain[:1], atol=1e-5)
    assert torch.equal(network(x), plain)
    layers = [torch.nn.Linear(5, 5) for _ in range(12)]
    assert token_places(layers[0], layers) == [layers[0], *(layers[i] for i in (1, 3, 6, 8, 11))]
    tokens = torch.rand(4, 7, 5)
    with plugged(layers[:1], Uncertainty(1.0)):
        out = layers[0](tokens)
    plain = layers[0](tokens)
    assert torch.equal(out[:, 0], plain[:, 0]) and not torch.isclose(out[:, 1:], plain[:, 1:]).any(1).all()


def test_rils_and_gvt_train_with_it_by_one_argument():
    from bebr.models.gvt import config as gvt_config
    from bebr.models.gvt.producer import Gvt
    from bebr.models.gvt.training import fit as fit_gvt
    from bebr.models.rils import config as rils_config
    from bebr.models.rils.data import Pairs
    from bebr.models.rils.producer import Rils
    from bebr.models.rils.training import fit as fit_rils

    texts = ["cat", "dog", "hat", "cup"]
    shown = np.random.default_rng(0).integers(0, 256, (4, 16, 16, 3), dtype=np.uint8)
    pairs = Pairs(shown[:, None], [[text] for text in texts])
    versions = {"rils": [], "gvt": []}
    for chance in (0.0, 0.0, 1.0):
        rils = Rils.fresh(texts, rils_config.Config(16, 8, 16, 2, 2, 16, 1, 16, 1, 2, 12, 520, 16))
        fit_rils(rils, pairs, "rils", steps=1, batch_size=4, uncertainty=chance)
        gvt = Gvt.fresh(gvt_config.Config(16, 8, 16, 2, 2, 20, 0))
        fit_gvt(gvt, shown, None, "pixels", steps=1, batch_size=4, mask=0.5, uncertainty=chance)
        versions["rils"].append(rils.version)
        versions["gvt"].append(gvt.version)
    for first, again, uncertain in versions.values():
        assert first == again != uncertain


# Networks and files


@pytest.mark.parametrize("size", ["reid-resnet50", "resnet18"])
def test_the_networks_are_torchvision_s(size):
    resnet = pytest.importorskip("torchvision.models").resnet
    config = SIZES[size]
    state = generated(config)
    with torch.device("meta"):
        theirs = getattr(resnet, size.removeprefix("reid-"))()
        ours = Network(config)
    ours.load_state_dict(state, assign=True)
    if config.neck:  # its last stage does not halve the map
        theirs.layer4[0].conv2.stride = theirs.layer4[0].downsample[0].stride = (1, 1)
    theirs.fc = torch.nn.Identity()
    backbone = {key: value for key, value in state.items() if not key.startswith("BN.")}
    counters = [key for key in theirs.state_dict() if key.endswith("num_batches_tracked")]
    theirs.load_state_dict(backbone | {key: torch.zeros(()) for key in counters}, assign=True)
    x = torch.rand(1, 3, 64, 32)
    with torch.inference_mode():
        features, wanted = ours.eval().pooled(x), theirs.eval()(x)
        assert torch.allclose(features, wanted, atol=1e-4 * float(wanted.abs().max()))
        necked = ours.necked(features)
    if config.neck:
        scale = state["BN.weight"] / (state["BN.running_var"] + 1e-5).sqrt()
        shifted = (features - state["BN.running_mean"]) * scale + state["BN.bias"]
        assert torch.allclose(necked, shifted, atol=1e-4)
        assert not ours.BN.bias.requires_grad
    else:
        assert necked is features
    assert config.dim == features.shape[1] == {"reid-resnet50": 2048, "resnet18": 512}[size]


@pytest.fixture
def published(monkeypatch):
    """The published sizes, small: their files are large."""
    small = {"reid-resnet50": replace(SMALL, depth=50), "resnet18": Config(12, 12, 18, 4, 2, False)}
    for size, config in small.items():
        monkeypatch.setitem(SIZES, size, config)
    return small


def test_published_files_load_by_their_keys(published, tmp_path):
    config = published["reid-resnet50"]
    state = generated(config)
    norms = [key.removesuffix("running_var") for key in state if key.endswith("running_var")]
    counted = {f"{norm}num_batches_tracked": torch.tensor(9) for norm in norms}
    dead = {"fc.weight": torch.ones(3, 3), "fc.bias": torch.ones(3), "classifier.weight": torch.ones(7, config.dim)}
    whole = {f"module.{key}": value for key, value in (state | counted | dead).items()}
    torch.save({"state_dict": whole, "epoch": 3, "best_mAP": np.float64(0.3)}, tmp_path / "checkpoint.pth.tar")
    producer = models.load("dsu", weights=tmp_path / "checkpoint.pth.tar", size="reid-resnet50")
    found = producer.network.state_dict()
    assert found.keys() == state.keys() and all(torch.equal(found[key], state[key]) for key in state)
    assert (producer.name, producer.dim, producer.metric, producer.modality) == ("dsu", 128, "cosine", "image")

    state = generated(published["resnet18"], 1)
    dassl = {f"backbone.{key}": value for key, value in state.items()}
    dassl |= {"classifier.weight": torch.ones(7, 32), "classifier.bias": torch.ones(7)}
    torch.save({"state_dict": dassl, "epoch": 50}, tmp_path / "model.pth.tar-50")
    producer = models.load("dsu", weights=tmp_path / "model.pth.tar-50", size="resnet18")
    torch.save(state | {"fc.weight": torch.ones(1000, 32)}, tmp_path / "resnet18.pth")  # torchvision's
    assert models.load("dsu", weights=tmp_path / "resnet18.pth", size="resnet18").version == producer.version


def test_files_that_do_not_fit_are_refused(published, tmp_path):
    state = generated(published["resnet18"])
    torch.save({key: value for key, value in state.items() if key != "bn1.bias"}, tmp_path / "a.pth")
    with pytest.raises(ValueError, match=r"1 missing: bn1\.bias"):
        models.load("dsu", weights=tmp_path / "a.pth", size="resnet18")
    torch.save(state | {"backbone.bn1.bias": state["bn1.bias"]}, tmp_path / "b.pth")
    with pytest.raises(ValueError, match=r"backbone.bn1.bias is there twice"):
        models.load("dsu", weights=tmp_path / "b.pth", size="resnet18")
    with pytest.raises(ValueError, match=r"size: .* has no config.json: give reid-resnet50 or resnet18"):
        models.load("dsu", weights=tmp_path / "b.pth")
    torch.save({"state_dict": state, "best": np.zeros(2)}, tmp_path / "c.pth.tar")
    with pytest.raises(ValueError, match=r"it pickles numpy"):
        models.load("dsu", weights=tmp_path / "c.pth.tar", size="resnet18")
    (tmp_path / "d.tar").write_bytes(b"")
    with pytest.raises(ValueError, match=r"got suffix '.tar'"):
        models.load("dsu", weights=tmp_path / "d.tar", size="resnet18")
    for wrong, message in (({"depth": 34}, "depth: got 34, wanted 10, 18, 50"), ({"last_stride": 3}, "last_stride")):
        with pytest.raises(ValueError, match=message):
            replace(SMALL, **wrong)


# Training


@pytest.mark.parametrize(("recipe", "perturbation"), [("reid", "dsu"), ("reid", "mixstyle"), ("classes", "noise")])
def test_the_recipes_learn(recipe, perturbation, tmp_path):
    labels = np.repeat(np.arange(4) + 10, 4)
    shown = pictures(4)[labels - 10]
    made = []
    for _ in range(2):
        producer = Dsu.fresh(replace(SMALL, neck=recipe == "reid"))
        rate = {"reid": 0.01, "classes": 0.1}[recipe]
        log = fit(producer, shown, labels, None, perturbation, steps=24, batch_size=16, learning_rate=rate)
        made.append(producer)
    assert len(log.loss) == 24 and np.mean(log.loss[-8:]) < np.mean(log.loss[:8])
    assert made[0].version == made[1].version != Dsu.fresh(replace(SMALL, neck=recipe == "reid")).version
    if recipe == "reid":
        assert torch.equal(producer.network.BN.bias, torch.zeros(32))
    x = producer.embed(list(shown), batch_size=5)
    assert np.abs(x - producer.embed([image.fromarray(one) for one in shown])).max() < 1e-5
    assert np.allclose(np.linalg.norm(x, axis=1), 1, atol=1e-6)
    producer.save(tmp_path)
    assert models.load("dsu", weights=tmp_path).version == producer.version


def test_triplets_and_batches():
    features = torch.tensor([[0.0], [1.0], [4.0], [6.0]])
    wanted = np.mean([np.log1p(np.exp(near)) for near in (1 - 4, 1 - 3, 2 - 3, 2 - 5)])
    assert abs(float(soft_triplet(features, torch.tensor([0, 0, 1, 1]))) - wanted) < 1e-6
    labels = np.repeat(np.arange(5), [4, 6, 2, 9, 4])
    random = np.random.default_rng(0)
    rows = identities(labels, 2, 4, random)
    for _ in range(6):
        chosen = labels[next(rows)].reshape(2, 4)
        assert (chosen == chosen[:, :1]).all() and chosen[0, 0] != chosen[1, 0]
    ramp = np.arange(6, dtype=np.uint8)[None, None, :, None] * np.ones((40, 6, 1, 3), np.uint8)
    out = (moved(ramp, 2, random) * 255).round().numpy()[:, 0, 0]
    steps = {tuple(row) for row in out}
    shifted = {tuple(np.clip(np.arange(6) + by, 0, 5).astype(float)) for by in range(-2, 3)}
    assert steps <= shifted | {row[::-1] for row in shifted} and len(steps) > 5


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"recipe": "style"}, "recipe: got 'style', wanted reid, classes"),
        ({"perturbation": "gauss"}, "perturbation: got 'gauss', wanted dsu, mixstyle, noise or None"),
        ({"labels": [1]}, "labels: got 1, wanted one for each of 8 pictures"),
        ({"batch_size": 6}, "batch_size: got 6, wanted 4 pictures each of 2 to 2 identities"),
        ({"batch_size": 9}, "batch_size: got 9, wanted 2 to 8"),
        ({"steps": 0}, "steps: got 0"),
        ({"p": 2.0}, "p: got 2.0"),
    ],
)
def test_settings_out_of_range_are_named(settings, message):
    given = {"labels": [0] * 4 + [1] * 4, "batch_size": 8, **settings}
    with pytest.raises(ValueError, match=message):
        fit(Dsu.fresh(SMALL), pictures(8), **given)


# Adaptation


def test_statistics_far_from_training_are_drawn_back():
    random = np.random.default_rng(1)
    known = torch.from_numpy(random.normal(2, 1, (50, 3, 6, 6)).astype(np.float32))
    layer = Adaptation([3])
    layer.middles[0], layer.spreads[0] = measured(*statistics(known))
    layer.reach.fill_(2.0)

    def far(x):
        away = (torch.stack(statistics(x), 1) - layer.middles[0]) / layer.spreads[0]
        return away.square().mean(2).sqrt()

    near, foreign = known[far(known).amax(1) < 2][:4], known[:4] * 3 - 5
    assert torch.allclose(layer(near, 0), near, atol=1e-5)
    assert far(foreign).min() > 2 and (far(layer(foreign, 0)) - 2).abs().max() < 1e-3
    assert torch.allclose(layer(foreign, 0)[1:2], layer(foreign[1:2], 0), atol=1e-5)  # whatever the batch is


def test_an_adapted_producer_is_another_version(tmp_path):
    plain = Dsu.fresh(SMALL)
    shown = pictures(6)
    wide, narrow = plain.adapted(shown, reach=1e3, batch_size=4), plain.adapted(list(shown), reach=0.5)
    assert np.abs(wide.embed(shown) - plain.embed(shown)).max() < 1e-5
    assert np.abs(narrow.embed(shown) - plain.embed(shown)).max() > 1e-3
    assert len({plain.version, wide.version, narrow.version}) == 3
    narrow.save(tmp_path)
    again = models.load("dsu", weights=tmp_path)
    assert again.version == narrow.version and np.array_equal(again.embed(shown), narrow.embed(shown))
    assert narrow.adapted(shown, reach=1e3).version == wide.version
    assert weights.read(tmp_path / weights.WEIGHTS)["adaptation.middles.2"].shape == (2, 4)
    with pytest.raises(ValueError, match=r"got 1 and 1\.0, wanted at least 2"):
        plain.adapted(shown[:1])
    with pytest.raises(ValueError, match="train the plain one, then adapt it"):
        fit(narrow, pictures(8), [0] * 4 + [1] * 4, batch_size=8)
