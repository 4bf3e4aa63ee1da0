"""GVT: every block, the resampler and the loss against a float64 reference, the encoder against timm's."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is absent: pip install 'bebr[models]'")

from bebr.models.gvt.config import SIZES, manifest, vision_manifest  # noqa: E402
from bebr.models.gvt.distillation import distance, hidden, whitened  # noqa: E402
from bebr.models.gvt.layouts import timm_key  # noqa: E402
from bebr.models.gvt.network import Network, initialize  # noqa: E402
from bebr.models.gvt.vision import Vision, angles, turned  # noqa: E402


@pytest.fixture
def network(small, generated):
    """The network in float64 and its weights as the reference takes them."""
    state = generated(small)
    made = Network(small)
    made.load_state_dict(state)
    return made.double().eval(), {key: value.double().numpy() for key, value in state.items()}


@pytest.fixture
def pixels(small):
    shape = (3, 3, small.image_size, small.image_size)
    return torch.from_numpy(np.random.default_rng(1).standard_normal(shape))


def near(got, wanted, most=1e-12):
    return np.abs(got.detach().numpy() - wanted).max() < most


# Positions


@pytest.mark.parametrize(("width", "across"), [(16, 3), (64, 16)])
def test_a_patch_is_turned_by_its_row_and_column(reference, width, across):
    table = angles(width, across)
    assert table.shape == (across**2, width) and table.dtype == torch.float64
    x = np.random.default_rng(0).standard_normal((across**2, width))
    found = turned(torch.from_numpy(x), table.cos(), table.sin())
    wanted = np.stack([reference.turn(one, i // across, i % across) for i, one in enumerate(x)])
    assert near(found, wanted)


def test_the_published_table():
    """16 frequencies 10000^(-2k/32), each twice, by the row and then by the column."""
    table = angles(64, 16).numpy()
    patch = table[16 * 5 + 11]
    frequencies = np.array([10000 ** (-2 * k / 32) for k in range(16)])
    assert np.allclose(patch, np.concatenate([np.repeat(5 * frequencies, 2), np.repeat(11 * frequencies, 2)]))


def test_products_of_turned_vectors_know_only_the_way_between():
    table = angles(16, 4)
    q, k = np.random.default_rng(0).standard_normal((2, 16))

    def product(a: int, b: int) -> float:
        x, y = (
            turned(torch.from_numpy(one)[None], table[at : at + 1].cos(), table[at : at + 1].sin())
            for one, at in ((q, a), (k, b))
        )
        return float((x * y).sum())

    assert product(0, 5) == pytest.approx(product(10, 15)) != pytest.approx(product(5, 0))


# The encoder


def test_attention_perceptron_and_block(reference, network, small):
    made, state = network
    made = made.visual_encoder
    x = torch.from_numpy(np.random.default_rng(2).standard_normal((2, 1 + small.patches, small.width)))
    table = angles(small.head_width, small.across)
    cosines, sines = table.cos(), table.sin()
    places = [None, *((i // small.across, i % small.across) for i in range(small.patches))]
    with torch.inference_mode():
        attended, inner = made.blocks[0].attn(x, cosines, sines), made.blocks[1].mlp(x)
        after = made.blocks[1](x, cosines, sines)
    for row in range(2):
        given = x[row].numpy(), state
        assert near(attended[row], reference.attention(*given, "visual_encoder.blocks.0.attn", small.heads, places))
        assert near(inner[row], reference.perceptron(*given, "visual_encoder.blocks.1.mlp"))
        assert near(after[row], reference.block(*given, "visual_encoder.blocks.1", small.heads, places))


def test_the_encoder_sees_all_patches_or_those_kept(reference, network, pixels, small):
    made, state = network
    kept = torch.tensor([[0, 4, 8], [2, 1, 7], [5, 6, 3]])
    with torch.inference_mode():
        patches = made.visual_encoder.embed(pixels)
        whole, part = made.visual_encoder(pixels), made.visual_encoder.encode(patches, kept)
        tokens, vectors = made.tokens(pixels), made.encode_image(pixels)
    assert whole.shape == (3, 1 + small.patches, small.width) and part.shape == (3, 4, small.width)
    for row in range(3):
        seen = reference.embed(pixels[row].numpy(), state, small)
        assert near(patches[row], seen)
        assert near(whole[row], reference.encode(seen, state, small), 1e-6)  # tables are kept in float32
        assert near(part[row], reference.encode(seen, state, small, kept[row].tolist()), 1e-6)
        wanted = reference.tokens(pixels[row].numpy(), state, small)
        assert near(tokens[row], wanted, 1e-6) and near(vectors[row], wanted.mean(0), 1e-6)


def test_a_path_that_is_left_out_changes_nothing(network, pixels, small):
    made = network[0].visual_encoder
    patches = made.embed(pixels)
    whole, paths = made.encode(patches), torch.ones(small.layers, 2, 3, dtype=torch.float64)
    assert torch.equal(made.encode(patches, None, paths), whole)
    paths[:, :, 1] = 0  # picture 1 goes past every block
    found = made.encode(patches, None, paths)
    assert torch.equal(found[[0, 2]], whole[[0, 2]])
    assert torch.allclose(found[1, 1:], patches[1] + made.pos_embed[0, 1:])


def test_timm_agrees(small, generated):
    """The same weights under timm's names, through the key map, in timm's own EVA."""
    eva = pytest.importorskip("timm.models.eva", reason="timm is absent: pip install 'bebr[vision]'")
    theirs = eva.Eva(
        img_size=small.image_size,
        patch_size=small.patch_size,
        embed_dim=small.width,
        depth=small.layers,
        num_heads=small.heads,
        mlp_ratio=small.hidden / small.width + 1e-6,
        num_classes=0,
        qkv_fused=False,
        swiglu_mlp=True,
        scale_mlp=True,
        scale_attn_inner=True,
        use_rot_pos_emb=True,
        ref_feat_shape=(small.across, small.across),
        global_pool="token",
    ).eval()
    state = generated(small)
    named = {timm_key(key): state[f"visual_encoder.{key}"] for key in vision_manifest(small)}
    named |= {f"norm.{part}": state[f"ln_vision.{part}"] for part in ("weight", "bias")}
    assert set(named) == set(theirs.state_dict())
    theirs.load_state_dict(named)
    made = Vision(small).eval()
    made.load_state_dict({key: state[f"visual_encoder.{key}"] for key in vision_manifest(small)})
    pixels = torch.randn(2, 3, small.image_size, small.image_size, generator=torch.Generator().manual_seed(3))
    with torch.inference_mode():
        found = torch.nn.functional.layer_norm(made(pixels), (small.width,), *theirs.norm.parameters(), 1e-6)
        assert torch.allclose(found, theirs.forward_features(pixels), atol=1e-4)


def test_timm_names_the_published_size_alike():
    timm = pytest.importorskip("timm", reason="timm is absent: pip install 'bebr[vision]'")
    with torch.device("meta"):
        try:
            theirs = timm.create_model("eva02_large_patch14_clip_224", pretrained=False)
        except RuntimeError as error:
            pytest.skip(f"timm {timm.__version__} makes no model without its memory: {error}")
    shapes = {key: tuple(value.shape) for key, value in theirs.state_dict().items()}
    ours = {timm_key(key): shape for key, shape in vision_manifest(SIZES["vit-l-14"]).items()}
    assert ours == {key: shape for key, shape in shapes.items() if not key.startswith(("norm.", "head."))}


# The resampler


def test_the_resampler(reference, network, pixels, small):
    made, state = network
    inputs = torch.from_numpy(np.random.default_rng(4).standard_normal((2, 7, small.width)))
    own = torch.from_numpy(np.random.default_rng(5).standard_normal((2, 3, small.width)))
    with torch.inference_mode():
        attended = made.perceiver.layers[1][0](inputs, own)
        found, asked, latents = made.perceiver(inputs), made.perceiver(inputs, own), made.resample(pixels)
    assert found.shape == (2, small.latents, small.width) and asked.shape == own.shape
    for row in range(2):
        given = inputs[row].numpy()
        wanted = reference.latent_attention(given, own[row].numpy(), state, "perceiver.layers.1.0", small.latent_heads)
        assert near(attended[row], wanted)
        assert near(found[row], reference.resample(given, state, small))
        assert near(asked[row], reference.resample(given, state, small, own[row].numpy()))
    wanted = reference.resample(reference.tokens(pixels[2].numpy(), state, small), state, small)
    assert near(latents[2], wanted, 1e-6)


# The loss


def test_the_distance(reference):
    random = np.random.default_rng(6)
    predicted, wanted = 3 * random.standard_normal((2, 3, 4, 5))
    only = random.random((3, 4)) < 0.5
    given = torch.from_numpy(predicted), torch.from_numpy(wanted)
    assert float(distance(*given)) == pytest.approx(reference.distance(predicted, wanted), abs=1e-12)
    found = float(distance(*given, torch.from_numpy(only)))
    assert found == pytest.approx(reference.distance(predicted, wanted, only), abs=1e-12)
    assert only.any() and not only.all() and (np.abs(predicted - wanted) > 2).any()
    tokens = torch.from_numpy(predicted)
    assert near(whitened(tokens)[1, 2], reference.whitened(predicted[1, 2]))


def test_what_is_hidden_is_drawn_by_the_generator():
    away = hidden(60, 10, 0.4, torch.Generator().manual_seed(3))
    assert away.dtype == torch.bool and away.sum(1).tolist() == [4] * 60
    assert torch.equal(away, hidden(60, 10, 0.4, torch.Generator().manual_seed(3)))
    assert away.any(0).all() and not away.all(0).any()


# Sizes


def test_the_published_size():
    keys = manifest(SIZES["vit-l-14"])
    d, hidden_ = 1024, 2730
    block = 4 * d * d + 3 * d + 2 * d + 3 * d * hidden_ + 2 * hidden_ + d + 2 * hidden_ + 4 * d
    layer = 4 * 1536 * d + 2 * 4 * d * d + 6 * d
    encoder = d + 257 * d + 588 * d + d + 24 * block
    assert sum(math.prod(one) for one in keys.values()) == encoder + 2 * d + 32 * d + d + 6 * layer + 2 * d
    with torch.device("meta"):
        made = Network(SIZES["vit-l-14"])
    assert {key: tuple(value.shape) for key, value in made.state_dict().items()} == keys
    assert made.visual_encoder.cosines.device.type == "cpu"  # they come from no file


def test_the_keys_are_those_of_the_published_file():
    keys = manifest(SIZES["vit-l-14"])
    for key, shape in {
        "visual_encoder.cls_token": (1, 1, 1024),
        "visual_encoder.pos_embed": (1, 257, 1024),
        "visual_encoder.patch_embed.proj.weight": (1024, 3, 14, 14),
        "visual_encoder.blocks.23.attn.k_proj.weight": (1024, 1024),
        "visual_encoder.blocks.0.attn.q_bias": (1024,),
        "visual_encoder.blocks.0.attn.inner_attn_ln.weight": (1024,),
        "visual_encoder.blocks.23.mlp.w1.weight": (2730, 1024),
        "visual_encoder.blocks.0.mlp.ffn_ln.bias": (2730,),
        "visual_encoder.blocks.0.mlp.w3.weight": (1024, 2730),
        "ln_vision.weight": (1024,),
        "perceiver.latents": (32, 1024),
        "perceiver.media_pos_emb": (1, 1, 1024),
        "perceiver.layers.5.0.norm_media.weight": (1024,),
        "perceiver.layers.5.0.to_q.weight": (1536, 1024),
        "perceiver.layers.5.0.to_kv.weight": (3072, 1024),
        "perceiver.layers.5.0.to_out.weight": (1024, 1536),
        "perceiver.layers.0.1.0.bias": (1024,),
        "perceiver.layers.0.1.1.weight": (4096, 1024),
        "perceiver.layers.0.1.3.weight": (1024, 4096),
        "perceiver.norm.bias": (1024,),
    }.items():
        assert keys[key] == shape, key
    # 24 blocks of 21 tensors, 4 before them, ln_vision 2, 6 layers of 11, 4 beside them
    assert len(keys) == 24 * 21 + 4 + 2 + 6 * 11 + 4


def test_a_start_is_the_same_under_one_seed(small):
    networks = [Network(small) for _ in range(3)]
    for made, seed in zip(networks, (0, 0, 1), strict=True):
        initialize(made, seed)
    states = [made.state_dict() for made in networks]
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])
    assert not torch.equal(states[0]["perceiver.latents"], states[2]["perceiver.latents"])
    assert abs(float(states[0]["visual_encoder.pos_embed"].std()) - 0.02) < 0.005


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"heads": 3}, "width: got 32, wanted a multiple of 4 x heads, 12"),
        ({"patch_size": 7}, "image_size: got 24, wanted a multiple of patch_size, 7"),
        ({"layers": 0}, "layers: got 0, wanted a whole number of at least 1"),
        ({"latents": -1}, "latents: got -1, wanted a whole number of at least 0"),
        ({"hidden": 42.7}, "hidden: got 42.7, wanted a whole number"),
    ],
)
def test_sizes_that_cannot_be_are_named(small, change, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(small, **change)
