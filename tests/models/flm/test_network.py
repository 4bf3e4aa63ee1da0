"""FLM: nothing leaks, to the bit; every block and the losses against a float64 reference written from the equations."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is absent: pip install 'bebr[models]'")

from bebr.models.flm import masks  # noqa: E402
from bebr.models.flm.config import SIZES  # noqa: E402
from bebr.models.flm.files import manifest  # noqa: E402
from bebr.models.flm.loss import covered, free, masked  # noqa: E402
from bebr.models.flm.network import Marks, Network  # noqa: E402
from bebr.models.flm.ranking import likelihoods  # noqa: E402
from bebr.models.flm.vision import resized  # noqa: E402

MARKS = Marks(begin=0, end=2, mask=4)
TEXTS = [[0, 7, 30, 9, 21, 11, 59, 2], [0, 12, 13, 14, 2], [0, 40, 2]]
TOKENS = torch.tensor([one + [1] * (8 - len(one)) for one in TEXTS])
REAL = torch.ne(TOKENS, MARKS.padding)


def made(small, generated, dtype=torch.float64):
    """The network in inference mode and its weights as the reference takes them."""
    state = generated(small)
    network = Network(small)
    network.load_state_dict(state)
    return network.to(dtype).eval(), {key: value.double().numpy() for key, value in state.items()}


@pytest.fixture
def network(small, generated):
    return made(small, generated)


@pytest.fixture
def pixels(small):
    return torch.from_numpy(np.random.default_rng(1).standard_normal((3, 3, small.image_size, small.image_size)))


def near(got, wanted, most=1e-11):
    return np.abs(got.detach().numpy() - wanted).max() < most


# No leak


@pytest.mark.parametrize("corruption", [0.0, 0.4])
def test_a_token_changes_every_prediction_but_its_own(small, generated, corruption):
    """The exact test, in float32: the logits of query i are the same to the bit whatever token i is."""
    network, _ = made(small, generated, torch.float32)
    random = np.random.default_rng(0)
    tokens = torch.from_numpy(random.integers(5, 60, (4, 12)))
    tokens[:, 0] = MARKS.begin
    for row, length in enumerate((12, 9, 5, 3)):
        tokens[row, length - 1], tokens[row, length:] = MARKS.end, MARKS.padding
    real = tokens != MARKS.padding
    hidden = masks.spans(real, corruption, torch.Generator().manual_seed(0)) if corruption else None
    picture = torch.randn(4, 5, small.width, generator=torch.Generator().manual_seed(0))

    def logits(given):
        with torch.inference_mode():
            return network.lm_score(network.look(network.read(given, MARKS, hidden), picture).queries)

    before = logits(tokens)
    for place in range(1, 11):
        asked = [row for row in range(4) if place < int(real[row].sum()) - 1]
        for other in (5, 33, 59):
            changed = tokens.clone()
            changed[asked, place] = other
            differs = (logits(changed) != before).any(2)
            for row in asked:
                assert not differs[row, place], (place, row)
                if changed[row, place] != tokens[row, place]:
                    assert differs[row, 0]  # the first query sees all
                    if not corruption:  # every real token but itself, and the end's query too
                        wrong = [i for i in range(int(real[row].sum())) if i != place and not differs[row, i]]
                        assert not wrong, (place, row, wrong)


def test_no_gradient_reaches_a_query_from_its_own_token(small, generated):
    network, _ = made(small, generated)
    picture = torch.zeros(1, 5, small.width, dtype=torch.float64)
    table = network.text_transformer["embeddings"].word_embeddings.weight
    for place in range(1, 7):  # all tokens of the first text differ, and none of them is a mark
        found = network.look(network.read(TOKENS[:1], MARKS), picture).queries[0, place].sum()
        (gradient,) = torch.autograd.grad(found, table)
        touched = gradient.abs().sum(1)
        assert touched[TOKENS[0, place]] == 0
        others = [int(TOKENS[0, i]) for i in range(1, 8) if i != place]
        assert all(touched[one] > 0 for one in others)


def test_streams_read_in_their_direction_only(small, generated):
    network, _ = made(small, generated, torch.float32)
    picture = torch.zeros(3, 5, small.width)
    with torch.inference_mode():
        before = network.look(network.read(TOKENS, MARKS), picture).states
        changed = TOKENS.clone()
        changed[0, 4] = 50
        differs = (network.look(network.read(changed, MARKS), picture).states != before).any(2)[0]
    forward, reverse = differs[:8].tolist(), differs[8:].tolist()
    assert forward == [True, False, False, False, True, True, True, True]
    assert reverse == [True, True, True, True, True, False, False, False]


# Masks


def test_masks_are_those_of_the_equations(reference):
    streams, seen = masks.streams(REAL), masks.reconstructor(REAL)
    before = torch.tensor([[0, 0, 1, 2, 0, 3, 1, 0]] * 3)
    behind = torch.tensor([[0, 1, 0, 1, 5, 0, 1, 0]] * 3)
    less = masks.reconstructor(REAL, (before, behind))
    for row, text in enumerate(TEXTS):
        length = len(text)
        for i in range(length):
            for half, sees in ((0, reference.forward_sees), (8, reference.reverse_sees)):
                found = streams[row, half + i].nonzero()[:, 0].tolist()
                assert found == [half + j for j in sees(i, length)]
            for mask, hidden in ((seen, (0, 0)), (less, (int(before[row, i]), int(behind[row, i])))):
                first, second = reference.query_sees(i, length, *hidden)
                assert mask[row, i].nonzero()[:, 0].tolist() == first + [8 + j for j in second]


def test_spans_hide_the_share_they_are_asked_for():
    real = torch.ones(4000, 22, dtype=torch.bool)
    for rate in (0.2, 0.5, 1.0):
        before, behind = masks.spans(real, rate, torch.Generator().manual_seed(0))
        hidden = (1 + before + behind).double()  # of 21 tokens, before the ends of the text cut it off
        assert abs(float(hidden.mean()) - 21 * rate) < 0.05
        assert int((before - behind).abs().max()) <= 1 and abs(float((before - behind).double().mean())) < 0.02
    for rate in (0.0, 1 / 21):  # itself alone
        before, behind = masks.spans(real, rate, torch.Generator().manual_seed(0))
        assert not before.any() and not behind.any()
    one, two = (masks.spans(real, 0.5, torch.Generator().manual_seed(seed))[0] for seed in (1, 1))
    assert torch.equal(one, two)
    assert not masks.spans(real[:, :2], 0.9, torch.Generator())[0].any()  # an end mark alone
    with pytest.raises(ValueError, match=r"corruption: got 1.5, wanted 0 to 1"):
        masks.spans(real, 1.5, torch.Generator())


def test_a_query_that_sees_nothing_is_no_leak_and_no_error(small, generated, reference):
    network, state = made(small, generated)
    far = torch.full((3, 8), 20)
    with torch.inference_mode():
        found = network.read(TOKENS, MARKS, (far, far)).queries
    for row, tokens in enumerate(TEXTS):
        length = len(tokens)
        wanted = reference.read(tokens, state, small, MARKS.mask, ([20] * length, [20] * length))[2]
        assert near(found[row, :length], wanted)


# Blocks


def test_pictures(reference, network, pixels, small):
    net, state = network
    with torch.inference_mode():
        found = net.picture(pixels)
    assert found.shape == (3, small.patches + 1, small.width)
    for row in range(3):
        assert near(found[row], reference.patches(pixels[row].numpy(), state, small))


@pytest.mark.parametrize("corrupted", [False, True])
def test_streams_reconstructor_pairs_and_words(reference, network, pixels, small, corrupted):
    net, state = network
    hidden = masks.spans(REAL, 0.5, torch.Generator().manual_seed(3)) if corrupted else None
    with torch.inference_mode():
        picture = net.picture(pixels)
        reading = net.read(TOKENS, MARKS, hidden)
        seen = net.look(reading, picture)
        vectors, logits = net.pair(seen), net.lm_score(seen.queries)
    for row, tokens in enumerate(TEXTS):
        length, image = len(tokens), picture[row].numpy()
        away = None if hidden is None else tuple(part[row].tolist() for part in hidden)
        wanted = reference.read(tokens, state, small, MARKS.mask, away)
        after = reference.look(*wanted, image, state, small, away)
        for got, (forward, reverse, q) in ((reading, wanted), (seen, after)):
            assert near(got.states[row, :length], forward)
            assert near(got.states[row, 8 : 8 + length], reverse)
            assert near(got.queries[row, :length], q)
        assert near(vectors[row], reference.pair(after[2], state))
        assert near(logits[row, :length], reference.words(after[2], state))


def test_one_stream_that_sees_all(reference, network, pixels, small):
    net, state = network
    with torch.inference_mode():
        picture = net.picture(pixels)
        found = net.bidirectional(TOKENS, picture)
    for row, tokens in enumerate(TEXTS):
        wanted = reference.bidirectional(tokens, picture[row].numpy(), state, small)
        assert near(found[row, : len(tokens)], wanted)


def test_float32_is_as_good_as_float32_can_be(reference, small, generated, pixels):
    net, state = made(small, generated, torch.float32)
    with torch.inference_mode():
        picture = net.picture(pixels.float())
        found = net.pair(net.look(net.read(TOKENS, MARKS), picture))
    for row, tokens in enumerate(TEXTS):
        image = reference.patches(pixels[row].numpy(), state, small)
        q = reference.look(*reference.read(tokens, state, small, MARKS.mask), image, state, small)[2]
        assert near(found[row], reference.pair(q, state), 1e-4)


def test_positions_grow_bicubically(reference):
    table = torch.from_numpy(np.random.default_rng(0).standard_normal((1 + 16, 3))).float()
    assert torch.equal(resized(table, 16), table)
    for patches, across in ((36, 6), (9, 3)):
        found = resized(table, patches)
        assert torch.equal(found[0], table[0]) and found.shape == (1 + patches, 3)
        wanted = reference.bicubic(table[1:].double().numpy().reshape(4, 4, 3), across).reshape(patches, 3)
        assert near(found[1:], wanted, 1e-5)
    with pytest.raises(ValueError, match="positions for 16 patches, wanted for 15: not squares"):
        resized(table, 15)


# Losses


@pytest.mark.parametrize("weights", [(1.0, 1.0), (0.5, 0.0)])
def test_the_free_loss(reference, network, pixels, small, weights):
    net, state = network
    with torch.inference_mode():
        picture = net.picture(pixels)
        found = free(net, TOKENS, picture, MARKS, 0.0, torch.Generator(), weights)
    wanted = reference.free(TEXTS, picture.numpy(), state, small, MARKS.mask, weights)
    assert abs(float(found) - wanted) < 1e-11


def test_the_free_loss_with_spans(reference, network, pixels, small):
    net, state = network
    before, behind = masks.spans(REAL, 0.6, torch.Generator().manual_seed(5))
    assert before.any() and behind.any()
    with torch.inference_mode():
        picture = net.picture(pixels)
        found = free(net, TOKENS, picture, MARKS, 0.6, torch.Generator().manual_seed(5))
    hidden = [(before[row].tolist(), behind[row].tolist()) for row in range(3)]
    wanted = reference.free(TEXTS, picture.numpy(), state, small, MARKS.mask, hidden=hidden)
    assert abs(float(found) - wanted) < 1e-11


def test_the_masked_loss(reference, network, pixels, small):
    net, state = network
    given, chosen = covered(TOKENS, MARKS, 0.4, torch.Generator().manual_seed(2), 60)
    with torch.inference_mode():
        picture = net.picture(pixels)
        found = masked(net, TOKENS, picture, MARKS, 0.4, torch.Generator().manual_seed(2))
    losses = []
    for row, tokens in enumerate(TEXTS):
        x = reference.bidirectional(given[row, : len(tokens)].tolist(), picture[row].numpy(), state, small)
        losses += [reference.surprise(x[i], tokens[i], state) for i in range(len(tokens)) if chosen[row, i]]
    assert abs(float(found) - sum(losses) / len(losses)) < 1e-11


@pytest.mark.parametrize("rate", [0.15, 0.4])
def test_what_is_covered(rate):
    tokens = torch.randint(5, 60, (4000, 22), generator=torch.Generator().manual_seed(0))
    tokens[:, 0], tokens[:, -2], tokens[:, -1] = MARKS.begin, MARKS.end, MARKS.padding
    given, chosen = covered(tokens, MARKS, rate, torch.Generator().manual_seed(1), 60)
    assert not chosen[:, [0, -2, -1]].any() and chosen.any(1).all()
    least = (1 - rate) ** 19 / 19  # texts of 19 tokens that would have had none have one
    assert abs(float(chosen[:, 1:-2].double().mean()) - rate - least) < 0.01
    assert torch.equal(given[~chosen], tokens[~chosen])
    hidden, kept = (given[chosen] == MARKS.mask).double().mean(), (given[chosen] == tokens[chosen]).double().mean()
    assert abs(float(hidden) - 0.8) < 0.02 and abs(float(kept) - 0.1) < 0.02
    alone, asked = covered(torch.tensor([[0, 9, 2]] * 50), MARKS, 0.01, torch.Generator().manual_seed(1), 60)
    assert asked.sum() == 50 and asked[:, 1].all() and alone.shape == (50, 3)


def test_likelihoods_of_texts_with_pictures(reference, network, pixels, small):
    net, state = network
    with torch.inference_mode():
        picture = net.picture(pixels)[:2]
        found = likelihoods(net, net.read(TOKENS, MARKS), TOKENS, MARKS, picture)
    assert found.shape == (3, 2)
    for row, tokens in enumerate(TEXTS):
        for column in range(2):
            image = picture[column].numpy()
            q = reference.look(*reference.read(tokens, state, small, MARKS.mask), image, state, small)[2]
            own = [-reference.surprise(q[i], tokens[i], state) for i in range(1, len(tokens) - 1)]
            assert abs(float(found[row, column]) - sum(own) / len(own)) < 1e-11


# Sizes


def test_the_published_size():
    config = SIZES["base"]
    keys, d, words = manifest(config), 768, 50265
    vision = d + 82 * d + d * 3 * 32 * 32 + 4 * d + 11 * (12 * d * d + 13 * d)
    layer, cross = 12 * d * d + 13 * d, 16 * d * d + 19 * d  # attention 4 d^2 + 4 d, perceptron 8 d^2 + 5 d, norms
    text = words * d + 514 * d + d + 2 * d + 6 * layer + 6 * cross + 12 * layer
    rest = 3 * (d * d + d) + 4 * d + (d * d + d + 2 * d) + words * d + words + d + 1
    assert sum(math.prod(one) for one in keys.values()) == vision + text + rest
    with torch.device("meta"):
        network = Network(config).eval()
        picture = network.picture(torch.zeros(2, 3, 288, 288))
        seen = network.look(network.read(torch.zeros(2, 50, dtype=torch.int64), MARKS), picture)
    assert {key: tuple(value.shape) for key, value in network.state_dict().items()} == keys
    assert network.pair(seen).shape == (2, 768) and picture.shape == (2, 82, 768)


def test_the_keys_are_those_of_the_published_class():
    keys = manifest(SIZES["base"])
    for key, shape in {
        "vit_model.visual.class_embedding": (768,),
        "vit_model.visual.positional_embedding": (82, 768),
        "vit_model.visual.conv1.weight": (768, 3, 32, 32),
        "vit_model.visual.transformer.resblocks.10.attn.in_proj_weight": (2304, 768),
        "vit_model.visual.transformer.resblocks.0.mlp.c_fc.weight": (3072, 768),
        "text_transformer.embeddings.word_embeddings.weight": (50265, 768),
        "text_transformer.embeddings.position_embeddings.weight": (514, 768),
        "text_transformer.encoder.layer.5.attention.self.query.weight": (768, 768),
        "cross_modal_text_layers.5.crossattention.output.LayerNorm.bias": (768,),
        "cross_modal_text_layers.0.attention.output.dense.weight": (768, 768),
        "fusion_layers_bottom.0.crossattention.self.value.bias": (768,),
        "fusion_layers_top.5.intermediate.dense.weight": (3072, 768),
        "token_type_embeddings_flm.weight": (2, 768),
        "cross_modal_text_pooler_f.dense.weight": (768, 768),
        "lm_score.decoder.weight": (50265, 768),
        "lm_score.bias": (50265,),
        "rank_output.weight": (1, 768),
    }.items():
        assert keys[key] == shape, key
    assert "vit_model.visual.transformer.resblocks.11.ln_1.weight" not in keys
    assert not any(key.startswith("fusion_layers_top.0.attention.") for key in keys)


def test_a_start_is_the_same_under_one_seed(small):
    config = dataclasses.replace(small, projected=True)
    networks = [Network(config) for _ in range(3)]
    for network, seed in zip(networks, (0, 0, 1), strict=True):
        network.initialize(seed)
    states = [network.state_dict() for network in networks]
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])
    assert not torch.equal(states[0]["lm_score.decoder.weight"], states[2]["lm_score.decoder.weight"])
    assert torch.equal(states[0]["text_projection"], torch.eye(24))
    assert abs(float(states[0]["logit_scale"].exp()) - 1 / 0.07) < 1e-2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"heads": 5}, "width: got 24, wanted a multiple of heads, 5"),
        ({"patch_size": 7}, "image_size: got 16, wanted a multiple of patch_size, 7"),
        ({"layers": 0}, "layers: got 0, wanted a whole number of at least 1"),
        ({"dropout": 1.0}, "dropout: got 1.0, wanted a number from 0 to below 1"),
        ({"ranked": 1}, "ranked: got 1, wanted true or false"),
        ({"max_tokens": 19}, "max_tokens: got 19, wanted 3 to positions - 2, 18"),
    ],
)
def test_sizes_that_cannot_be_are_named(small, change, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(small, **change)
