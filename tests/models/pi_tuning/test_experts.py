"""Experts mixed and merged, tasks compared, the training loops, and each expert as a version of the producer."""

from __future__ import annotations

import numpy as np
import pytest

import bebr
from bebr import models
from bebr.models import items

torch = pytest.importorskip("torch", reason="torch is absent: pip install 'bebr[models]'")
pytest.importorskip("tokenizers", reason="tokenizers is absent: pip install 'bebr[models]'")
pytest.importorskip("PIL.Image", reason="Pillow is absent: pip install 'bebr[models]'")

from bebr.models.pi_tuning import fisher  # noqa: E402
from bebr.models.pi_tuning.config import Config  # noqa: E402
from bebr.models.pi_tuning.experts import Expert  # noqa: E402
from bebr.models.pi_tuning.held import Held  # noqa: E402
from bebr.models.pi_tuning.mixture import Mixture  # noqa: E402
from bebr.models.pi_tuning.producer import PiTuning  # noqa: E402
from bebr.models.pi_tuning.training import attached, fit, interpolate, pretrain  # noqa: E402
from bebr.models.rils.data import Pairs  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_thread")
SMALL = Config(32, 8, 2, 16, 2, 2, 300, 24, 8, 3)
KINDS = ["adapter", "lora", "prefix"]
COLOURS = np.array([[255, 0, 0], [0, 200, 0], [0, 0, 255], [250, 240, 10]], np.uint8)
NAMES = ["red", "green", "blue", "yellow"]
LABELS = np.repeat([30, 10, 20, 40], 4)


@pytest.fixture(scope="module")
def trunk():
    return PiTuning.fresh(NAMES, SMALL, seed=1)


def pictures(seed=7):
    """Four of each colour, noisy."""
    noise = np.random.default_rng(seed).integers(-40, 40, (16, 32, 32, 3))
    return list(np.clip(np.repeat(COLOURS, 4, 0)[:, None, None] + noise, 0, 255).astype(np.uint8))


def expert(kind, seed, size=3):
    made = Expert(kind, size, 16, 2)
    generator = torch.Generator().manual_seed(seed)
    for value in made.parameters():
        value.data.normal_(0, 0.5, generator=generator)
    return made


def embedded(producer, one, shown):
    with attached(producer, one), torch.inference_mode():
        means = producer.means("image", *producer.read("image", [items.picture(item, "x") for item in shown]))
        return torch.nn.functional.normalize(means, dim=1).numpy()


# Merging


@pytest.mark.parametrize("kind", KINDS)
def test_merged_equals_unmerged(trunk, kind):
    members = [expert(kind, seed) for seed in range(3)]
    mixture = Mixture(members)
    mixture.alpha.data.normal_(generator=torch.Generator().manual_seed(3))
    merged = mixture.merged()
    assert merged.kind == kind and merged.size == (9 if kind == "lora" else 3)
    shown = pictures()[::5]
    unmerged = embedded(trunk, mixture, shown)
    assert np.abs(embedded(trunk, merged, shown) - unmerged).max() < 1e-6
    assert np.abs(trunk.with_expert(merged).embed(shown) - unmerged).max() < 1e-6
    assert np.abs(embedded(trunk, Mixture(members).merged(), shown) - unmerged).max() > 1e-4
    assert np.abs(trunk.embed(shown) - unmerged).max() > 1e-4


def test_shares_are_a_softmax_by_place():
    a, b = expert("adapter", 0), expert("adapter", 1)
    mixture = Mixture([a, b], [1.0, 1.0 + float(np.log(3))])
    assert mixture.alpha.shape == (2, 2, 2)
    mixture.alpha.data[1, 0] = torch.tensor([2.0, 2.0])
    merged = mixture.merged().state_dict()
    for key, value in merged.items():
        share = 0.5 if key.startswith("layers.1.adapter1.") else 0.25
        assert torch.allclose(value, share * a.state_dict()[key] + (1 - share) * b.state_dict()[key])
    alone = Mixture([a]).merged().state_dict()
    assert all(torch.equal(alone[key], value) for key, value in a.state_dict().items())
    with pytest.raises(ValueError, match="experts: got shapes"):
        Mixture([a, expert("adapter", 1, size=4)])
    with pytest.raises(ValueError, match="alpha: got 1, wanted one for each of 2"):
        Mixture([a, b], [1.0])


# Versions


@pytest.mark.parametrize("kind", KINDS)
def test_each_expert_is_a_version(trunk, kind, tmp_path):
    shown, before = pictures()[:3], trunk.version
    changed = trunk.with_expert(expert(kind, 0))
    other = trunk.with_expert(expert(kind, 1))
    assert len({before, changed.version, other.version}) == 3
    assert (changed.name, changed.dim) == (trunk.name, trunk.dim) and trunk.version == before
    changed.save(tmp_path)
    again = models.load("pi-tuning", weights=tmp_path)
    assert again.version == changed.version and np.array_equal(again.embed(shown), changed.embed(shown))
    if kind == "lora":  # part of the weights: as many numbers as the trunk has, and room for an expert
        assert changed.network.state_dict().keys() == trunk.network.state_dict().keys()
    else:
        with pytest.raises(ValueError, match="has an expert already"):
            changed.with_expert(expert(kind, 1))
    with pytest.raises(ValueError, match="expert: is of 3 layers of width 16, the trunk has 2 of 16"):
        trunk.with_expert(Expert(kind, 3, 16, 3))


def test_a_collection_goes_from_the_trunk_to_an_expert(trunk, tmp_path):
    pytest.importorskip("sqlalchemy", reason="bebr.open needs SQLAlchemy: pip install 'bebr[store]'")
    shown = dict(zip([f"{name} {n}" for name in NAMES for n in range(4)], pictures(), strict=True))
    ids, asked = list(shown), pictures(8)
    new = trunk.with_expert(Mixture([expert("adapter", 0), expert("adapter", 1)]).merged())
    old_model, model = bebr.untrained(16, bytes_per_vector=6), bebr.untrained(16, bytes_per_vector=8)

    def scores(producer, binarizer):
        """Of all rows, by an index of the producer's vectors alone."""
        index = bebr.FlatIndex(binarizer)
        index.add(producer.embed(list(shown.values())))
        return index.search(producer.embed(asked), 16).scores

    with bebr.open(tmp_path) as db:
        docs = db.create_collection("docs", old_model)
        docs.upsert(ids, trunk.embed(list(shown.values())))
        docs.migrate(model, vectors=())
        with pytest.raises(bebr.IncompatibleModel):  # without a bridge (compatible_with=) not while rows are behind
            docs.search(new.embed(asked), 16, binarizer=model)
        while page := docs.scroll(limit=6, behind=True):
            docs.migrate(model, vectors=[([row.id for row in page], new.embed([shown[row.id] for row in page]))])
        assert np.array_equal(docs.search(trunk.embed(asked), 16).scores, scores(trunk, old_model))
        assert np.array_equal(docs.search(new.embed(asked), 16, binarizer=model).scores, scores(new, model))
        docs.cutover()
        assert np.array_equal(docs.search(new.embed(asked), 16).scores, scores(new, model))
        assert docs.binarizer.digest == model.digest


# What a frozen trunk computes once


@pytest.mark.parametrize("most", [0, 2**30], ids=["nothing kept", "all kept"])
def test_items_are_held_as_the_trunk_reads_them(trunk, most):
    member = expert("adapter", 3)
    shown = pictures()
    for some, kind in ((shown, "image"), (["red", "green blue yellow red", "blue"], "text")):
        held = Held(trunk, some, most)
        rows = np.array([2, 0, 1])
        with attached(trunk, member), torch.inference_mode():
            opened = [items.opened(kind, some[row], "x") for row in rows]
            wanted = trunk.means(kind, *trunk.read(kind, opened))
            for _ in range(2):  # read, and then remembered where there is room
                assert torch.allclose(held.means(trunk, rows), wanted, atol=1e-6)
    labels = np.array([0, 1] * 8)
    held = Held(trunk, shown, most)
    plain, kept = (fit(trunk, one, labels, size=3, steps=3, batch_size=8) for one in (shown, held))
    assert np.allclose(plain.log.loss, kept.log.loss, atol=1e-5)
    assert np.array_equal(plain.predict(trunk, shown), kept.predict(trunk, held))


def test_each_held_item_is_read_once(trunk, monkeypatch):
    read = []
    real = trunk.read
    monkeypatch.setattr(trunk, "read", lambda kind, batch: read.extend(batch) or real(kind, batch))
    held = Held(trunk, pictures())
    trained = fit(trunk, held, LABELS, size=3, steps=6, batch_size=8)
    fisher.embedding(trunk, trained, held, LABELS)
    trained.predict(trunk, held)
    assert len(read) == 16


def test_items_held_by_another_trunk_are_refused(trunk):
    other = Held(PiTuning.fresh(NAMES, SMALL, seed=2), pictures())
    with pytest.raises(ValueError, match=f"items: are held by version {other.version}"):
        fit(trunk, other, LABELS, size=3, steps=1, batch_size=8)


# Tasks


def test_fisher_information_is_the_mean_of_squared_slopes(trunk):
    shown, labels = pictures(), LABELS
    trained = fit(trunk, shown, labels, size=3, steps=2, batch_size=8)
    found = fisher.embedding(trunk, trained, shown, labels, seed=4)
    order = np.random.default_rng(4).permutation(16)
    wanted = {name: torch.zeros_like(value) for name, value in trained.expert.named_parameters()}
    for start in range(0, 16, 4):
        rows = order[start : start + 4]
        trained.expert.zero_grad()
        with attached(trunk, trained.expert):
            opened = [items.picture(shown[row], "x") for row in rows]
            logits = trained.head(trunk.means("image", *trunk.read("image", opened)))
            places = torch.tensor([[10, 20, 30, 40].index(labels[row]) for row in rows])
            (-logits.log_softmax(1)[torch.arange(4), places].mean()).backward()
        for name, value in trained.expert.named_parameters():
            wanted[name] += value.grad**2 / 4
    assert found.keys() == wanted.keys()
    assert all(torch.allclose(found[name], wanted[name], rtol=1e-4, atol=1e-12) for name in found)
    with pytest.raises(ValueError, match=r"labels: got \[7\], wanted some of \[10, 20, 30, 40\]"):
        fisher.embedding(trunk, trained, shown[:1], [7])


def test_similarity_is_symmetric_and_weighs_tensors_alike():
    a = {"u": torch.tensor([3.0, 1.0]), "v": torch.tensor([[1.0], [0.0]])}
    b = {"u": torch.tensor([1.0, 3.0]), "v": torch.tensor([[0.0], [5.0]])}
    assert abs(fisher.similarity(a, b) - (0.6 + 0) / 2) < 1e-5
    assert fisher.similarity(a, b) == fisher.similarity(b, a) and abs(fisher.similarity(a, a) - 1) < 1e-5
    assert [name for name, _ in fisher.nearest(a, {"b": b, "same": a})] == ["same", "b"]
    with pytest.raises(ValueError, match="experts of different shapes"):
        fisher.similarity(a, {"u": a["u"]})


# Training


@pytest.mark.parametrize("kind", KINDS)
def test_an_expert_learns_and_the_trunk_stays(trunk, kind):
    shown, before = pictures(), trunk.version
    made = fit(trunk, shown, LABELS, kind, 3, steps=40, batch_size=8, learning_rate=0.02)
    assert np.mean(made.log.loss[-5:]) < np.mean(made.log.loss[:5]) - 0.1
    found = made.predict(trunk, shown, batch_size=5)
    assert (found == LABELS).mean() > 0.7 and np.array_equal(found, made.predict(trunk, shown))
    trunk.refresh()
    assert trunk.version == before and trunk.network.expert is None
    assert all(one.requires_grad for one in trunk.network.parameters())


def test_interpolation_trains_experts_and_shares_and_merges(trunk):
    words = [f"{name} {letter}" for name in NAMES for letter in "abcd"]
    own = fit(trunk, words, LABELS, size=3, steps=10, batch_size=8)
    kept = {key: value.clone() for key, value in own.expert.state_dict().items()}
    other = expert("adapter", 3)
    mixed = interpolate(trunk, own, [other], words, LABELS, steps=30, batch_size=8, learning_rate=0.02)
    assert mixed.expert.shape == own.expert.shape and np.mean(mixed.log.loss[-5:]) < np.mean(mixed.log.loss[:5])
    assert all(torch.equal(own.expert.state_dict()[key], value) for key, value in kept.items())
    mean = Mixture([own.expert, other]).merged().state_dict()
    assert not any(torch.equal(mixed.expert.state_dict()[key], value) for key, value in mean.items())
    further = interpolate(trunk, own, [], words, LABELS, steps=3, batch_size=8)
    assert further.expert.shape == own.expert.shape and trunk.with_expert(further.expert).version != trunk.version
    with pytest.raises(ValueError, match="wanted one or more of the same kind"):
        interpolate(trunk, own, [expert("lora", 0)], words, LABELS)


def test_a_trunk_is_trained_by_contrast():
    pairs = Pairs(np.stack(pictures())[::4][:, None], [[name] for name in NAMES])
    made = []
    for _ in range(2):
        producer = PiTuning.fresh(NAMES, SMALL, seed=1)
        before = producer.version
        log = pretrain(producer, pairs, steps=12, batch_size=4, learning_rate=0.003)
        made.append(producer.version)
    assert made[0] == made[1] != before and np.mean(log.loss[-3:]) < np.mean(log.loss[:3])
    found = [producer.embed(pictures()[:2]), producer.embed(["red", "no"]), producer.embed([(pictures()[0], "red")])]
    assert [one.shape for one in found] == [(2, 16), (2, 16), (1, 16)]
    assert all(np.allclose(np.linalg.norm(one, axis=1), 1, atol=1e-6) for one in found)
    # a longer text beside it changes nothing: padding is not seen
    assert np.abs(producer.embed(["red", "green yellow blue"])[0] - producer.embed(["red"])[0]).max() < 1e-6


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kind": "soft"}, "kind: got 'soft', wanted adapter, lora, prefix"),
        ({"size": 0}, "size: got 0, wanted at least 1"),
        ({"labels": [1]}, "labels: got 1, wanted one for each of 16 items"),
        ({"batch_size": 17}, "batch_size: got 17, wanted 1 to 16"),
        ({"steps": 0}, "steps: got 0"),
        ({"items": ["a"] * 15 + [3]}, r"items\[15\]: got int"),
    ],
)
def test_settings_out_of_range_are_named(trunk, settings, message):
    given = {"items": ["a"] * 16, "labels": LABELS, **settings}
    with pytest.raises(ValueError, match=message):
        fit(trunk, given.pop("items"), given.pop("labels"), **given)
