"""RILS: every block and both losses against a float64 reference written from the equations."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is absent: pip install 'bebr[models]'")

from bebr.models.rils.config import SIZES, manifest  # noqa: E402
from bebr.models.rils.loss import contrast, reconstruction  # noqa: E402
from bebr.models.rils.network import Network  # noqa: E402
from bebr.models.rils.vision import positions, shuffled  # noqa: E402


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


# Pictures


@pytest.mark.parametrize(("width", "side"), [(24, 3), (768, 14), (1024, 14)])
def test_positions_are_fixed_waves(reference, width, side):
    found = positions(width, side)[0]
    assert found.shape == (side * side + 1, width) and not found[0].any()
    wanted = np.stack([reference.position(place, side, width) for place in range(side * side)])
    assert np.abs(found[1:].numpy() - wanted).max() < 1e-6


def test_patches_and_blocks(reference, network, pixels, small):
    made, state = network
    with torch.inference_mode():
        embedded = made.visual.embed(pixels)
        attended = made.visual.blocks[0].attn(embedded)
        after = made.visual.blocks[1](embedded)
    for row in range(3):
        wanted = reference.embed(pixels[row].numpy(), state, small)
        assert near(embedded[row], wanted, 1e-6)  # positions are kept in float32
        wanted = embedded[row].numpy()
        assert near(attended[row], reference.attention(wanted, state, "visual.blocks.0.attn", small.heads))
        assert near(after[row], reference.block(wanted, state, "visual.blocks.1", small.heads))


def test_the_encoder_sees_all_patches_or_those_kept(reference, network, pixels, small):
    made, state = network
    kept, _ = shuffled(3, small.patches, 3, torch.Generator().manual_seed(2))
    with torch.inference_mode():
        embedded = made.visual.embed(pixels)
        whole, part = made.visual.encode(embedded), made.visual.encode(embedded, kept)
        vectors = made.encode_image(pixels)
    assert part.shape == (3, 4, small.width)
    for row in range(3):
        picture = pixels[row].numpy()
        assert near(whole[row], reference.encode(picture, state, small), 1e-6)
        assert near(part[row], reference.encode(picture, state, small, kept[row].tolist()), 1e-6)
        assert near(vectors[row], reference.picture(picture, state, small), 1e-6)


def test_the_decoder_puts_patches_back_in_their_places(reference, network, pixels, small):
    made, state = network
    kept, places = shuffled(3, small.patches, 3, torch.Generator().manual_seed(2))
    with torch.inference_mode():
        found = made.visual.predict(made.visual.encode(made.visual.embed(pixels), kept), places)
    assert found.shape == (3, small.patches, small.width)
    for row in range(3):
        assert near(found[row], reference.predict(pixels[row].numpy(), state, small, kept[row].tolist()), 1e-6)


def test_what_is_kept_is_drawn_by_the_generator():
    kept, places = shuffled(50, 16, 4, torch.Generator().manual_seed(3))
    again, _ = shuffled(50, 16, 4, torch.Generator().manual_seed(3))
    assert torch.equal(kept, again) and not torch.equal(kept, shuffled(50, 16, 4)[0])
    assert places.sort(1).values.tolist() == [list(range(16))] * 50
    for row in range(50):
        assert [int(places[row, patch]) for patch in kept[row]] == [0, 1, 2, 3]
    assert len(kept.unique()) == 16  # every place is kept by some


# Texts


def test_the_text_tower(reference, network, small):
    made, state = network
    random = np.random.default_rng(4)
    x = torch.from_numpy(random.standard_normal((2, 5, small.text_width)))
    layer = made.transformer["resblocks"][0]
    with torch.inference_mode():
        attended, after = layer.attn(x), layer(x)
    name, count = "transformer.resblocks.0", small.text_heads
    for row in range(2):
        assert near(attended[row], reference.text_attention(x[row].numpy(), state, f"{name}.attn", count))
        assert near(after[row], reference.text_block(x[row].numpy(), state, name, count))
    texts = [[518, 3, 77, 200, 519], [518, 519], [518, *range(10), 519]]  # the last one as long as the context
    padded = torch.tensor([one + [0] * (12 - len(one)) for one in texts])
    with torch.inference_mode():
        found = made.encode_text(padded)
        assert torch.allclose(made.encode_text(torch.tensor(texts[:1])), found[:1])  # padding changes nothing
    for row, tokens in enumerate(texts):
        assert near(found[row], reference.text(tokens, state, small))


# Losses


@pytest.fixture
def vectors():
    random = np.random.default_rng(5)
    texts = random.standard_normal((6, 8))
    pictures = texts + 0.9 * random.standard_normal((6, 8))
    pictures[2] = texts[3]  # one that is not found
    return pictures, texts


def test_the_contrast(reference, vectors):
    pictures, texts = vectors
    loss, found = contrast(torch.from_numpy(pictures), torch.from_numpy(texts), torch.tensor(1 / 0.07).double())
    wanted, right = reference.contrast(pictures, texts, float(np.float32(1 / 0.07)))
    assert abs(float(loss) - wanted) < 1e-10 and found.tolist() == right
    assert not right[2] and 2 <= sum(right) < 6


def test_the_reconstruction(reference, vectors):
    _, texts = vectors
    random = np.random.default_rng(6)
    predicted, real = random.standard_normal((2, 6, 9, 8))
    hidden = random.random((6, 9)) < 0.75
    for found in ([True] * 6, [True, False, True, True, False, False]):
        given = [torch.from_numpy(one) for one in (predicted, real, texts, hidden, np.array(found))]
        wanted = reference.reconstruction(predicted, real, texts, hidden, found)
        assert abs(float(reconstruction(*given)) - wanted) < 1e-10


def test_only_the_prediction_learns_from_reconstruction(vectors):
    random = np.random.default_rng(6)
    predicted, real = (torch.from_numpy(x).requires_grad_() for x in random.standard_normal((2, 6, 9, 8)))
    prototypes = torch.from_numpy(vectors[1]).requires_grad_()
    hidden = torch.zeros(6, 9, dtype=torch.bool)
    hidden[:, 4:] = True
    found = torch.tensor([True, False, True, True, True, True])
    kept = hidden.clone()
    reconstruction(predicted, real, prototypes, hidden, found).backward()
    assert real.grad is None and prototypes.grad is None
    learns = predicted.grad.abs().sum(2) > 0
    assert torch.equal(learns, hidden & found[:, None]) and torch.equal(hidden, kept)


def test_while_no_picture_is_found_there_is_nothing_to_reconstruct(vectors):
    predicted = torch.ones(6, 9, 8, requires_grad=True)
    none = torch.zeros(6, dtype=torch.bool)
    loss = reconstruction(predicted, predicted, torch.ones(6, 8), torch.ones(6, 9, dtype=torch.bool), none)
    loss.backward()
    assert float(loss.detach()) == 0 and not predicted.grad.any()


# Sizes


def blocks(d, layers):
    """Parameters of the picture encoder's blocks: attention 4 d^2 + 3 d, perceptron 8 d^2 + 5 d, two norms 4 d."""
    return layers * (12 * d * d + 12 * d)


def parameters(d, layers, wide, text, vocabulary, common):
    """Of a published size with 196 patches of 16 pixels, by arithmetic."""
    pictures = d + 197 * d + 3 * 256 * d + d + blocks(d, layers) + 2 * d
    decoder = wide * d + wide + wide + 197 * wide + blocks(wide, 1) + 2 * wide + d * wide + d
    texts = 12 * (12 * text * text + 13 * text) + vocabulary * text + 77 * text + 2 * text
    return pictures + decoder + texts + d * common + text * common + 1


@pytest.mark.parametrize(
    ("size", "shape"),
    [("vit-b-16", (768, 12, 768, 512, 49408, 512)), ("vit-l-16", (1024, 24, 1024, 768, 49408, 768))],
)
def test_published_sizes(size, shape):
    keys = manifest(SIZES[size])
    assert sum(math.prod(one) for one in keys.values()) == parameters(*shape)
    with torch.device("meta"):
        made = Network(SIZES[size])
        image = made.encode_image(torch.zeros(2, 3, 224, 224))
        text = made.encode_text(torch.zeros(2, 77, dtype=torch.int64))
    assert {key: tuple(value.shape) for key, value in made.state_dict().items()} == keys
    assert image.shape == text.shape == (2, shape[5])


def test_the_keys_are_those_of_the_published_class():
    keys = manifest(SIZES["vit-b-16"])
    for key, shape in {
        "visual.cls_token": (1, 1, 768),
        "visual.pos_embed": (1, 197, 768),
        "visual.patch_embed.proj.weight": (768, 3, 16, 16),
        "visual.blocks.11.attn.qkv.weight": (2304, 768),
        "visual.blocks.11.attn.q_bias": (768,),
        "visual.blocks.0.mlp.fc2.weight": (768, 3072),
        "visual.decoder_embed.bias": (768,),
        "visual.mask_token": (1, 1, 768),
        "visual.decoder_blocks.0.attn.v_bias": (768,),
        "visual.decoder_pred.weight": (768, 768),
        "transformer.resblocks.11.attn.in_proj_weight": (1536, 512),
        "transformer.resblocks.0.mlp.c_fc.weight": (2048, 512),
        "token_embedding.weight": (49408, 512),
        "positional_embedding": (77, 512),
        "image_projection": (768, 512),
        "text_projection": (512, 512),
        "logit_scale": (),
    }.items():
        assert keys[key] == shape, key
    assert "visual.blocks.12.norm1.weight" not in keys and "visual.decoder_blocks.1.norm1.weight" not in keys
    # 12 + 1 blocks of 13 tensors, 12 text blocks of 12; 6 + 8 of the pictures beside them, 7 of the texts
    assert len(keys) == 13 * 13 + 12 * 12 + 6 + 8 + 7


def test_a_start_is_the_same_under_one_seed(small):
    networks = [Network(small) for _ in range(3)]
    for made, seed in zip(networks, (0, 0, 1), strict=True):
        made.initialize(seed)
    states = [made.state_dict() for made in networks]
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])
    assert not torch.equal(states[0]["image_projection"], states[2]["image_projection"])
    assert abs(float(states[0]["logit_scale"].exp()) - 1 / 0.07) < 1e-5


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"heads": 5}, "width: got 24, wanted a multiple of heads, 5"),
        ({"patch_size": 7}, "image_size: got 24, wanted a multiple of patch_size, 7"),
        ({"layers": 0}, "layers: got 0, wanted a whole number of at least 1"),
        ({"embed_dim": "20"}, "embed_dim: got '20', wanted a whole number"),
        ({"width": 26}, "width: got 26, wanted a multiple of 4"),
    ],
)
def test_sizes_that_cannot_be_are_named(small, change, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(small, **change)
