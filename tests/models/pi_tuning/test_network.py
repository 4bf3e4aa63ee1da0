"""OFA's encoder against NumPy, its published files key by key, and the experts' files."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from bebr import models
from bebr.models import items, weights

torch = pytest.importorskip("torch", reason="torch is absent: pip install 'bebr[models]'")
pytest.importorskip("tokenizers", reason="tokenizers is absent: pip install 'bebr[models]'")
pytest.importorskip("PIL.Image", reason="Pillow is absent: pip install 'bebr[models]'")

from bebr.models.dsu.config import Config as Residual  # noqa: E402
from bebr.models.dsu.network import Network as ResidualNetwork  # noqa: E402
from bebr.models.pi_tuning import published  # noqa: E402
from bebr.models.pi_tuning.config import SIZES, Config, expert_manifest, manifest  # noqa: E402
from bebr.models.pi_tuning.experts import Expert  # noqa: E402
from bebr.models.pi_tuning.mixture import Mixture  # noqa: E402
from bebr.models.pi_tuning.network import Network  # noqa: E402
from bebr.models.pi_tuning.positions import image_rows, image_table, token_table  # noqa: E402
from bebr.models.pi_tuning.tokens import Tokens  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_thread")
SMALL = Config(32, 8, 2, 16, 2, 2, 300, 12, 8, 3)
TEXTS = ["red heart", "dog face", "cat face", "blue heart"]


def generated(shapes, seed=0):
    """Seeded numbers of these shapes, made from a manifest and not from a network."""
    generator, state = torch.Generator().manual_seed(seed), {}
    for key, shape in shapes.items():
        value = 0.3 * torch.randn(shape, generator=generator)
        if key.endswith(("running_var", "c_attn")) or (len(shape) == 1 and key.endswith("weight")):
            value = 1 + value.abs()
        state[key] = value
    return state


def expert(kind, size=3, seed=5, config=SMALL):
    return Expert.of(generated(expert_manifest(kind, size, config.width, config.layers), seed), kind, size, 16, 2)


def network(state, config=SMALL):
    made = Network(config)
    made.load_state_dict(state)
    return made.eval()


# Positions


def test_far_tokens_share_rows_of_the_table(reference):
    table = token_table(8, 12)
    wanted = [[reference.bucket(i - j, 8, 12) for j in range(12)] for i in range(12)]
    assert table.tolist() == wanted
    assert table[0, :6].tolist() == [7, 6, 5, 4, 3, 2] and table[11, 0] == 14
    published_size = token_table(256, 1024)
    assert published_size.min() == 0 and published_size.max() == 510


def test_parts_of_a_picture_have_a_row_for_each_offset():
    assert image_rows(2, 3).tolist() == [[12, 11, 7, 6], [13, 12, 8, 7], [17, 16, 12, 11], [18, 17, 13, 12]]
    table = image_table(3)
    assert table.shape == (10, 10) and (table[0, 0], table[0, 1], table[1, 0], table[1, 1]) == (27, 25, 26, 12)


# Network


@pytest.mark.parametrize("kind", ["", "adapter", "lora", "prefix"])
def test_the_encoder_is_that_of_the_equations(reference, kind):
    state = generated(manifest(SMALL))
    made = network(state)
    inside = expert(kind) if kind else None
    made.expert = inside
    changes = {} if inside is None else {key: value.double().numpy() for key, value in inside.state_dict().items()}
    pixels = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    tokens = torch.tensor([[0, 7, 99, 45, 12, 31, 8, 2], [0, 261, 2, 1, 1, 1, 1, 1]])
    with torch.inference_mode():
        shown = made.embed_images(pixels).permute(0, 2, 3, 1).double().numpy()
        both, seen, parts = made(pixels, tokens)
        alone = made(None, tokens)[0]
    assert parts == 4 and seen.sum(1).tolist() == [12, 7]
    for row, count in ((0, 8), (1, 3)):
        ids = tokens[row, :count].numpy()
        wanted = reference.encode(state, SMALL, shown[row], ids, changes)
        assert np.abs(both[row, : 4 + count].numpy() - wanted).max() < 2e-4
        wanted = reference.encode(state, SMALL, None, ids, changes)
        assert np.abs(alone[row, :count].numpy() - wanted).max() < 2e-4


def test_the_convolutions_are_a_resnet_s_first_three_stages():
    made = network(generated(manifest(SMALL)))
    theirs = ResidualNetwork(Residual(32, 32, 50, 2, 1, False)).eval()
    config = replace(SMALL, depth=50)
    state = {key: value for key, value in generated(manifest(config)).items() if key.startswith("embed_images.")}
    state = {key.removeprefix("embed_images."): 0.3 * value for key, value in state.items()}
    missing = theirs.load_state_dict(state, strict=False)
    assert not missing.unexpected_keys and all(key.startswith("layer4.") for key in missing.missing_keys)
    made = type(made.embed_images)(config).eval()
    made.load_state_dict(state)
    pixels = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    x = torch.relu(theirs.bn1(theirs.conv1(pixels)))
    for stage in (theirs.maxpool, theirs.layer1, theirs.layer2, theirs.layer3):
        x = stage(x)
    assert torch.allclose(made(pixels), x) and x.shape == (1, 32, 2, 2)


def test_positions_learn_through_the_scores():
    made = Network(SMALL)
    made.initialize(0)
    states, _, _ = made(torch.randn(1, 3, 32, 32), torch.tensor([[0, 5, 2]]))
    states[..., 0].square().sum().backward()
    for table in (made.token_rel_pos_table_list[1], made.image_rel_pos_table_list[0], made.embed_positions):
        assert float(table.weight.grad.abs().max()) > 0


@pytest.mark.parametrize("size", SIZES)
def test_every_size_has_the_keys_of_its_manifest(size):
    with torch.device("meta"):
        made = Network(SIZES[size])
    assert {key: tuple(value.shape) for key, value in made.state_dict().items()} == manifest(SIZES[size])


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"image_size": 40}, "image_size: got 40, wanted a multiple of 16 up to 48"),
        ({"image_size": 64}, "image_size: got 64"),
        ({"depth": 34}, "depth: got 34, wanted 8, 50, 101, 152"),
        ({"heads": 3}, "width: got 16, wanted a multiple of heads, 3"),
        ({"buckets": 22}, "buckets: got 22, wanted 4 to below 22"),
        ({"expert": "lora", "expert_size": 2}, "expert, expert_size: got 'lora', 2"),
        ({"expert": "prefix"}, "expert, expert_size: got 'prefix', 0"),
    ],
)
def test_sizes_that_cannot_be_are_named(wrong, message):
    with pytest.raises(ValueError, match=message):
        replace(SMALL, **wrong)


# Files


@pytest.fixture
def whole(monkeypatch, tmp_path):
    """A trunk as OFA's files hold it, small; its tokenizer lies beside."""
    monkeypatch.setitem(SIZES, "ofa-base", SMALL)
    Tokens.learn(TEXTS, 300, 12).save(tmp_path)
    state = {f"encoder.{key}": value for key, value in generated(manifest(SMALL)).items()}
    state |= {
        "encoder.version": torch.tensor([3.0]),
        "encoder.embed_images.bn1.num_batches_tracked": torch.tensor(9),
        "encoder.token_rp_bucket": torch.from_numpy(token_table(8, 12).copy()),
        "encoder.image_rp_bucket": torch.from_numpy(image_table(3)),
        "decoder.embed_tokens.weight": torch.zeros(3, 3),
        "decoder.layers.0.adapter1.down_proj.bias": torch.zeros(3),
    }
    return state


def test_published_files_load_by_their_keys(whole, tmp_path):
    torch.save({"model": whole, "cfg": {"a": 1}}, tmp_path / "ofa_base.pt")
    producer = models.load("pi-tuning", weights=tmp_path / "ofa_base.pt", size="ofa-base")
    found = producer.network.state_dict()
    assert found.keys() == manifest(SMALL).keys()
    assert all(torch.equal(value, whole[f"encoder.{key}"]) for key, value in found.items())
    assert (producer.name, producer.dim, producer.metric) == ("pi-tuning", 16, "cosine")
    wide = models.load("pi-tuning", weights=tmp_path / "ofa_base.pt", size="ofa-base", image_size=48)
    assert wide.version == producer.version
    shown = np.random.default_rng(0).integers(0, 256, (2, 50, 40, 3), dtype=np.uint8)
    assert np.abs(wide.embed(shown) - producer.embed(shown)).max() > 1e-3
    pixels = producer.pixels([items.picture(np.full((9, 5, 3), 255, np.uint8), "white")])
    assert pixels.shape == (1, 3, 32, 32) and torch.equal(pixels, torch.ones_like(pixels))
    producer.save(tmp_path / "saved")
    assert models.load("pi-tuning", weights=tmp_path / "saved").version == producer.version


def test_files_that_do_not_fit_are_refused(whole, tmp_path):
    def load(state, **options):
        torch.save({"model": state}, tmp_path / "a.pt")
        return models.load("pi-tuning", weights=tmp_path / "a.pt", size="ofa-base", **options)

    with pytest.raises(ValueError, match=r"1 missing: layer_norm\.bias; 1 unexpected: classification_heads\.x"):
        load(
            {k: v for k, v in whole.items() if k != "encoder.layer_norm.bias"}
            | {"classification_heads.x": torch.ones(1)}
        )
    with pytest.raises(ValueError, match=r"encoder\.token_rp_bucket is not the table of this size"):
        load(whole | {"encoder.token_rp_bucket": whole["encoder.token_rp_bucket"] + 2})
    with pytest.raises(ValueError, match=r"encoder\.image_rp_bucket is not the table"):
        load(whole | {"encoder.image_rp_bucket": torch.zeros(5, 5, dtype=torch.int64)})
    torch.save({"model": whole}, tmp_path / "trunk.pt")
    with pytest.raises(ValueError, match="has no adapter, LoRA or prefix of the encoder"):
        load(whole, expert=tmp_path / "trunk.pt")


@pytest.mark.parametrize("kind", ["adapter", "lora", "prefix"])
def test_experts_are_read_as_they_were_saved(whole, tmp_path, kind):
    torch.save({"model": whole}, tmp_path / "a.pt")
    one = expert(kind)
    published.save(one, tmp_path / "expert")
    again = published.read(tmp_path / "expert", SMALL)
    assert again.shape == one.shape
    assert all(torch.equal(value, one.state_dict()[key]) for key, value in again.state_dict().items())
    apart = models.load("pi-tuning", weights=tmp_path / "a.pt", size="ofa-base", expert=tmp_path / "expert")
    inside = weights.read(tmp_path / "expert" / "model.safetensors")
    torch.save({"model": whole | inside}, tmp_path / "b.pt")
    within = models.load("pi-tuning", weights=tmp_path / "b.pt", size="ofa-base")
    assert (
        apart.version == within.version != models.load("pi-tuning", weights=tmp_path / "a.pt", size="ofa-base").version
    )
    if kind == "prefix":  # a row of the table: layer by layer a key, then a value
        (table,) = inside.values()
        assert table.shape == (3, 2 * 2 * 16) and torch.equal(table[2, 48:64], one.layers[1].prompt[1, 2])


def test_interpolated_adapters_are_merged_as_they_are_read(tmp_path):
    members = [expert("adapter", seed=seed) for seed in (5, 6)]
    state = {}
    for number, one in enumerate(members):
        for key, value in one.state_dict().items():
            name = key.replace("adapter1", f"adapters1.{number}").replace("adapter2", f"adapters2.{number}")
            state[f"encoder.{name}"] = value
    mixture = Mixture(members)
    for i in range(2):
        for place in (1, 2):
            alpha = torch.tensor([0.5 * i, 0.3 * place])
            state[f"encoder.layers.{i}.adapter_interpolation_weight{place}"] = alpha
            mixture.alpha.data[i, place - 1] = alpha
    torch.save(state, tmp_path / "a.pt")
    found, wanted = published.read(tmp_path / "a.pt", SMALL).state_dict(), mixture.merged().state_dict()
    assert all(torch.equal(found[key], wanted[key]) for key in wanted)
    del state["encoder.layers.1.adapter_interpolation_weight2"]
    torch.save(state, tmp_path / "b.pt")
    with pytest.raises(ValueError, match=r"1 missing: layers\.1\.adapter_interpolation_weight2"):
        published.read(tmp_path / "b.pt", SMALL)
