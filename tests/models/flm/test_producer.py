"""FLM as a producer: Lightning's files key by key, pairs and either alone, training, and a second look at hits."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

import bebr
from bebr import models
from bebr.models import weights

torch = pytest.importorskip("torch", reason="torch is absent: pip install 'bebr[models]'")
image = pytest.importorskip("PIL.Image", reason="Pillow is absent: pip install 'bebr[models]'")

from bebr.models.flm import ranking  # noqa: E402
from bebr.models.flm.cloze import cloze  # noqa: E402
from bebr.models.flm.config import SIZES, Config  # noqa: E402
from bebr.models.flm.data import Pairs, composed  # noqa: E402
from bebr.models.flm.producer import Flm  # noqa: E402
from bebr.models.flm.rerank import Reranker  # noqa: E402
from bebr.models.flm.tokens import Tokens, sentence  # noqa: E402
from bebr.models.flm.training import OBJECTIVES, fit  # noqa: E402

WORDS = 4 + 256 + 3
TEXTS = ["a dog", "dog.", "", "dog dog dog dog dog dog dog dog dog dog dog dog"]


@pytest.fixture
def config(small) -> Config:
    """The small one, with as many words as the vocabulary of the tests."""
    return dataclasses.replace(small, vocab_size=WORDS)


@pytest.fixture
def folder(config, generated, vocabulary):
    """A generated checkpoint as ``save`` lays it out, with RoBERTa's two files."""
    weights.save(vocabulary, generated(config), config.to_json())
    return vocabulary


def pictures(count):
    random = np.random.default_rng(7)
    return [random.integers(0, 256, (30, 20 + 9 * i, 3 + i % 2), dtype=np.uint8) for i in range(count)]


# Vectors


def test_pairs_pictures_and_texts_have_vectors(folder, tmp_path):
    producer = models.load("flm", weights=folder)
    assert "flm" in models.names()
    assert (producer.name, producer.dim, producer.metric) == ("flm", 24, "cosine")
    assert producer.modality == "image+text|image|text"
    shown = pictures(4)
    for given in (list(zip(shown, TEXTS, strict=True)), shown, TEXTS):
        x = producer.embed(given)
        assert x.dtype == np.float32 and x.shape == (4, 24)
        assert np.allclose(np.linalg.norm(x, axis=1), 1, atol=1e-6)
        assert np.abs(producer.embed(given[::-1], batch_size=1)[::-1] - x).max() < 1e-5
    image.fromarray(shown[0]).save(tmp_path / "a.png")
    pairs = producer.embed([(tmp_path / "a.png", "a dog"), (shown[0], "a dog"), (shown[0], "dog"), (shown[2], "a dog")])
    assert np.allclose(pairs[0], pairs[1], atol=1e-6)
    assert np.abs(pairs[1] - pairs[2]).max() > 1e-3 < np.abs(pairs[1] - pairs[3]).max()  # both halves count


def test_vectors_are_those_of_the_reference(folder, config, generated, reference):
    producer = models.load("flm", weights=folder)
    state = {key: value.double().numpy() for key, value in generated(config).items()}
    shown = image.fromarray(pictures(1)[0])
    pixels = producer.pixels([shown])
    patches = reference.patches(pixels[0].double().numpy(), state, config)
    tokens = producer.tokens(["a dog"])[0].tolist()
    forward, reverse, q = reference.read(tokens, state, config, producer.tokens.marks.mask)
    after = reference.look(forward, reverse, q, patches, state, config)[2]
    for given, wanted in (([(shown, "a dog")], reference.pair(after, state)), ([shown], patches[0]), (["a dog"], q[0])):
        assert np.abs(producer.embed(given)[0] - wanted / np.linalg.norm(wanted)).max() < 1e-4


def test_a_picture_is_resized_and_cut_as_clips(folder, config):
    producer = models.load("flm", weights=folder)
    transforms = pytest.importorskip("torchvision.transforms")
    mean, deviation = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
    theirs = transforms.Compose(
        [
            transforms.Resize(config.image_size, transforms.InterpolationMode.BICUBIC),
            transforms.CenterCrop(config.image_size),
            transforms.ToTensor(),
            transforms.Normalize(mean, deviation),
        ]
    )
    random = np.random.default_rng(8)
    for height, width in ((16, 16), (31, 50), (50, 31), (7, 9)):
        picture = image.fromarray(random.integers(0, 256, (height, width, 3), dtype=np.uint8))
        assert torch.allclose(producer.pixels([picture])[0], theirs(picture), atol=1e-6)


# Tokens


def test_a_text_ends_with_one_full_stop(vocabulary):
    for text, wanted in ((" a dog ", "a dog."), ("a dog...", "a dog."), ("", "."), ("a. b", "a. b.")):
        assert sentence(text) == wanted
    tokens = Tokens.read(vocabulary, 6)
    dog, stop, end = WORDS - 2, int(tokens([""])[0, 1]), 2
    assert tokens(["dog", ""]).tolist() == [[0, dog, stop, end], [0, stop, end, 1]]
    assert tokens(TEXTS[3:]).shape == (1, 6) and tokens(TEXTS[3:])[0, -1] == end  # cut, its end kept
    assert tokens.marks.mask == WORDS - 1 and tokens.size == WORDS


def test_a_vocabulary_is_learned_and_kept(tmp_path):
    captions = ["two red dogs and one cat", "one red dog and two cats", "one cat"] * 2
    tokens, again = (Tokens.learn(captions, 300, 20) for _ in range(2))
    assert torch.equal(tokens(captions), again(captions)) and tokens.size <= 300
    assert tokens(["one cat"]).shape == (1, 5)  # begin, two words, full stop, end
    tokens.save(tmp_path)
    kept = Tokens.read(tmp_path, 20)
    assert torch.equal(kept([*captions, "ein Bär"]), tokens([*captions, "ein Bär"])) and kept.marks == tokens.marks
    (tmp_path / "tokenizer.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"has no tokenizer; wanted tokenizer.json or vocab.json with merges"):
        Tokens.read(tmp_path, 20)


def test_a_vocabulary_without_the_marks_is_refused():
    tokenizers = pytest.importorskip("tokenizers")
    with pytest.raises(ValueError, match=r"vocabulary: has no <s>, <pad>, </s>, <unk>, <mask>: not a RoBERTa"):
        Tokens(tokenizers.Tokenizer(tokenizers.models.BPE({"a": 0}, [])), 20)


# Files


def test_saved_and_loaded_is_the_same(folder, tmp_path):
    producer = models.load("flm", weights=folder)
    producer.save(tmp_path / "copy")
    again = models.load("flm", weights=tmp_path / "copy")
    assert again.version == producer.version
    pairs = list(zip(pictures(4), TEXTS, strict=True))
    assert np.array_equal(again.embed(pairs), producer.embed(pairs))
    assert np.array_equal(again.embed(TEXTS), producer.embed(TEXTS))


@pytest.fixture
def published(config, monkeypatch):
    """The published size, small: its files are more than a gigabyte."""
    monkeypatch.setitem(SIZES, "base", config)


def lightning(state: dict, config: Config) -> dict:
    """A training file as Lightning writes it: aliases stored again, parts that nothing here reads, plain values."""
    full = dict(state)
    for alias, original in (
        ("text_transformer2.", "text_transformer."),
        ("cross_modal_layers.", "cross_modal_text_layers."),
        ("cross_modal_text_layers_r.", "cross_modal_text_layers."),
        ("cross_modal_text_transform_r.", "cross_modal_text_transform."),
        ("cross_modal_text_transform_f.", "cross_modal_text_transform."),
        ("fusion_token_embedding.", "text_transformer.embeddings."),
        ("lm_score_r.", "lm_score."),
        ("lm_score_f.", "lm_score."),
    ):
        full |= {alias + key.removeprefix(original): x for key, x in state.items() if key.startswith(original)}
    d = config.width
    for key, shape in {
        "vit_model.positional_embedding": (77, 16),
        "vit_model.ln_final.weight": (16,),
        "text_transformer.pooler.dense.weight": (d, d),
        "text_transformer2.pooler.dense.weight": (d, d),
        "cross_modal_image_pooler.dense.weight": (d, d),
        "cross_modal_text_pooler.dense.bias": (d,),
        "lm_type_embeddings.weight": (2, d),
        "itm_score_flm.fc.weight": (2, d),
        "vqa_classifier.0.weight": (2 * d, d),
        "nlvr2_classifier.3.bias": (2,),
    }.items():
        full[key] = torch.ones(shape)
    return {
        "epoch": 3,
        "pytorch-lightning_version": "1.3.2",
        "state_dict": full,
        "optimizer_states": [{"state": {0: {"step": 1}}, "param_groups": [{"lr": 8e-5, "params": [0]}]}],
        "hyper_parameters": {"config": {"loss_names": {"flm": 1}, "image_size": 288}},
    }


@pytest.mark.parametrize("later", [False, True])
def test_a_published_file_loads(config, generated, vocabulary, tmp_path, published, later):
    state = generated(config)
    held = lightning(state, config)
    if later:  # what captioning and NLVR2 append, and a file without the ranking head
        for key in ("text_transformer.embeddings.word_embeddings.weight", "lm_score.decoder.weight", "lm_score.bias"):
            for name in {key, key.replace("text_transformer.", "text_transformer2.", 1)}:
                if name in held["state_dict"]:
                    more = held["state_dict"][name]
                    held["state_dict"][name] = torch.cat([more, more[:2]])
        held["state_dict"] = {
            key: x
            for key, x in held["state_dict"].items()
            if not key.startswith(("rank_", "lm_score_", "fusion_token"))
        }
        types = held["state_dict"]["token_type_embeddings.weight"]
        held["state_dict"]["token_type_embeddings.weight"] = torch.cat([types, types[:1]])
        state = {key: x for key, x in state.items() if not key.startswith("rank_")}
    torch.save(held, tmp_path / "pretrain_4m.ckpt")
    producer = models.load("flm", weights=tmp_path / "pretrain_4m.ckpt", size="base", vocabulary=vocabulary)
    assert producer.version == weights.digest(state)[:16]
    assert producer.network.config == dataclasses.replace(config, ranked=not later)
    assert producer.embed([(pictures(1)[0], "a dog")]).shape == (1, 24)


def test_another_resolution(config, generated, vocabulary, tmp_path, published):
    state = generated(config)
    torch.save({"state_dict": state}, tmp_path / "one.ckpt")
    options = {"weights": tmp_path / "one.ckpt", "size": "base", "vocabulary": vocabulary}
    large = models.load("flm", **options, image_size=32)
    assert large.network.picture(large.pixels([image.fromarray(pictures(1)[0])])).shape == (1, 17, 24)
    large.save(tmp_path / "large")
    torch.save({"state_dict": large.network.state_dict()}, tmp_path / "two.ckpt")
    found = models.load("flm", **{**options, "weights": tmp_path / "two.ckpt"})  # the file says for which it is
    assert found.network.config.image_size == 32 and found.version == large.version
    with pytest.raises(ValueError, match="image_size: got 33, wanted a multiple of patch_size, 8"):
        models.load("flm", **options, image_size=33)


class Runs:
    """A pickle that would run code."""

    def __reduce__(self):
        return (print, ("ran",))


class Callback:
    """What Lightning pickles beside the weights."""


def test_files_that_pickle_other_objects_are_refused(config, generated, vocabulary, tmp_path, published, capsys):
    for other, named in ((Runs(), "print"), ({Callback: {"best": 1}}, "Callback")):
        torch.save({"state_dict": generated(config), "callbacks": other}, tmp_path / "bad.ckpt")
        message = (
            rf"bad.ckpt: not a state dict of tensors \(it pickles .*{named}\); files that hold other objects are not"
        )
        with pytest.raises(ValueError, match=message):
            models.load("flm", weights=tmp_path / "bad.ckpt", size="base", vocabulary=vocabulary)
    assert "ran" not in capsys.readouterr().out


def test_an_alias_that_differs_is_refused(config, generated, vocabulary, tmp_path, published):
    held = lightning(generated(config), config)
    held["state_dict"]["lm_score_r.bias"] = held["state_dict"]["lm_score_r.bias"] + 1
    torch.save(held, tmp_path / "bad.ckpt")
    with pytest.raises(ValueError, match=r"weights: lm_score_r.bias differs from lm_score.bias, which it stands for"):
        models.load("flm", weights=tmp_path / "bad.ckpt", size="base", vocabulary=vocabulary)


def test_wrong_weights_are_refused_by_name(config, generated, folder):
    state = generated(config)
    state["fusion_layers_top.0.attention.self.query.weight"] = torch.ones(24, 24)
    del state["lm_score.bias"]
    state["token_type_embeddings_flm.weight"] = torch.ones(3, 24)
    weights.save(folder, state, config.to_json())
    message = (
        r"1 missing: lm_score.bias; 1 unexpected: fusion_layers_top.0.attention.self.query.weight; "
        r"1 of another shape: token_type_embeddings_flm.weight \[3, 24\] \(wanted \[2, 24\]\)"
    )
    with pytest.raises(ValueError, match=message):
        models.load("flm", weights=folder)


def test_what_is_missing_is_named(config, folder, tmp_path):
    def refused(error, message, **options):
        with pytest.raises(error, match=message):
            models.load("flm", **{"weights": folder, **options})

    refused(ValueError, "weights: got none, but flm brings none of its own; wanted a folder that save", weights=None)
    refused(FileNotFoundError, "no such file or folder", weights=tmp_path / "none")
    refused(ValueError, "size: got 'huge', wanted base, tiny", size="huge")
    refused(ValueError, r"size: got 'base', but .*config.json describes another", size="base")
    torch.save({"epoch": 3}, tmp_path / "one.ckpt")
    refused(ValueError, r"has no config.json: give base", weights=tmp_path / "one.ckpt")
    refused(ValueError, "wanted a flat dict of name to tensor", weights=tmp_path / "one.ckpt", size="base")
    raw = json.loads((folder / "config.json").read_text())
    del raw["patch_size"]
    (folder / "config.json").write_text(json.dumps(raw))
    refused(ValueError, "config.json: says no patch_size")
    (folder / "config.json").write_text(json.dumps({**raw, "producer": "rils"}))
    refused(ValueError, "is of the producer 'rils', wanted 'flm'")
    (folder / "config.json").write_text(json.dumps({**config.to_json(), "vocab_size": 100}))
    refused(ValueError, "of another shape: text_transformer.embeddings.word_embeddings.weight")


def test_a_vocabulary_of_another_model_is_refused(small, vocabulary):
    from bebr.models.flm.network import Network

    with pytest.raises(ValueError, match="vocabulary: has 263 entries, but the network 60: they are not of one model"):
        Flm(Network(small), Tokens.read(vocabulary, 18))


# Training

COLOURS = {"red": (220, 30, 30), "green": (30, 200, 30), "blue": (30, 30, 220), "yellow": (230, 220, 20)}
TINY = Config(16, 8, 32, 1, 2, 1, 1, 2, 300, 22, 20, 0.0, True, True)


def flags(ordered: bool = True) -> Pairs:
    """Flags of two halves, named from the top down: 12 of them; 6 if no two may have the same colours."""
    names, shown = [], []
    for top, above in COLOURS.items():
        for bottom, below in COLOURS.items():
            if top < bottom or (ordered and top > bottom):
                flag = np.empty((16, 16, 3), np.uint8)
                flag[:8], flag[8:] = above, below
                names.append(f"{top} over {bottom}")
                shown.append(flag)
    return Pairs(np.array(shown), names)


def untrained(config=TINY, seed=0) -> Flm:
    return Flm.fresh(list(flags().captions), config, seed)


def right(producer: Flm, objective: str) -> float:
    """Cloze accuracy over the flags' captions."""
    pairs = flags()
    tokens = producer.ids(list(pairs.captions))
    picture = producer.network.picture(producer.pixels([image.fromarray(one) for one in pairs.pictures]))
    said, counted = cloze(producer.network, tokens, picture, producer.tokens.marks, objective)
    assert counted.sum() == 12 * 4 and not counted[:, 0].any()  # two colours, "over", the full stop
    return float((said == tokens)[counted].float().mean())


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_words_come_to_be_foretold(objective, one_thread):
    """A short training; what a long one reaches is in benchmarks/models/flm.py."""
    producer = untrained()
    before, version = right(producer, objective), producer.version
    log = fit(producer, flags(), objective, steps=50, batch_size=12, learning_rate=5e-3)
    assert producer.version != version and not producer.network.training
    assert len(log.loss) == 50 and np.mean(log.loss[-10:]) < 0.6 * log.loss[0] and log.seconds > 0
    assert right(producer, objective) > before + 0.2


@pytest.mark.parametrize(("objective", "corruption"), [("flm", None), ("flm", 0.5), ("mlm", 0.4)])
def test_training_repeats_itself(objective, corruption, one_thread):
    runs = []
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    for seed in (4, 4, 5):
        producer = untrained(dataclasses.replace(TINY, dropout=0.1))
        log = fit(producer, flags(), objective, steps=3, batch_size=6, corruption=corruption, seed=seed)
        runs.append((log.loss, producer.version))
    assert runs[0] == runs[1] != runs[2]
    assert torch.equal(torch.rand(1), expected)  # the caller's random numbers are left alone


def test_a_frozen_eye_and_a_watch(one_thread):
    producer, seen = untrained(), []
    before = {key: value.clone() for key, value in producer.network.state_dict().items()}

    def watch(step, seconds):
        assert not producer.network.training
        seen.append((step, seconds))
        return step == 4

    log = fit(producer, flags(), steps=50, batch_size=6, frozen=True, watch=watch)
    assert [step for step, _ in seen] == [1, 2, 3, 4] and len(log.loss) == 4 and seen[-1][1] == log.seconds
    after = producer.network.state_dict()
    still = {key for key in after if torch.equal(after[key], before[key])}
    apart = {"rank_output.weight", "rank_output.bias", "image_projection", "text_projection", "logit_scale"}
    pooler = {key for key in after if key.startswith("cross_modal_text_pooler_f")}
    assert still == {key for key in after if key.startswith("vit_model.")} | apart | pooler


def test_new_parts_may_learn_faster():
    from bebr.models.flm.training import descent_of

    network = untrained().network
    groups = descent_of(network, 1e-3, 5.0, frozen=False).optimizer.param_groups
    rates = {id(one): group["lr"] for group in groups for one in group["params"]}
    for name, parameter in network.named_parameters():
        taken_over = name.startswith(("vit_model.", "text_transformer."))
        assert rates[id(parameter)] == pytest.approx(1e-3 if taken_over else 5e-3), name


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"objective": "ar"}, "objective: got 'ar', wanted flm, mlm"),
        ({"batch_size": 13}, "batch_size: got 13, wanted 1 to 12, the number of pairs"),
        ({"steps": 0}, "steps, warmup: got 0, 0.05, wanted at least 1"),
        ({"corruption": 2.0}, "corruption: got 2.0, wanted 0 to 1"),
        ({"objective": "mlm", "corruption": 0.0}, "corruption: got 0.0, wanted 0 to 1, for mlm between them"),
    ],
)
def test_settings_out_of_range_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        fit(untrained(), flags(), **{"batch_size": 4, **options})


def test_pairs_that_do_not_fit_are_named():
    pairs = flags()
    with pytest.raises(ValueError, match=r"pictures: got float64 \[12, 16, 16, 3\], wanted uint8 \[n, side, side, 3\]"):
        Pairs(pairs.pictures.astype(float), pairs.captions)
    with pytest.raises(ValueError, match="captions: got 11, wanted one for each of 12 pictures"):
        Pairs(pairs.pictures, pairs.captions[1:])
    with pytest.raises(ValueError, match="counts: got 1, wanted one for each of 12 pictures"):
        Pairs(pairs.pictures, pairs.captions, [{0: 1}])


def test_scenes_become_pairs():
    from bebr.models.data.emoji import Emoji, EmojiSet

    random = np.random.default_rng(0)
    drawn = random.integers(0, 256, (5, 16, 16, 4), dtype=np.uint8)
    drawn[..., 3] = 255
    emoji = EmojiSet(tuple(Emoji(f"{i}", f"thing{i}", (), "objects") for i in range(5)), {"twemoji": drawn}, 16, "x")
    pairs = composed(emoji, [1, 3, 4], range(6), seed=2)
    again = composed(emoji, [1, 3, 4], [5], seed=2)
    assert pairs.pictures.shape == (6, 64, 64, 3) and np.array_equal(again.pictures[0], pairs.pictures[5])
    assert all(3 <= sum(counts.values()) <= 5 for counts in pairs.counts)
    assert all(("thing1" in text) == (0 in counts) for text, counts in zip(pairs.captions, pairs.counts, strict=True))


# Ranking, and a second look


@pytest.fixture(scope="module")
def ranked():
    """An FLM of random weights, large enough that its scores lie far apart."""
    producer = untrained()
    random = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in producer.network.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=random))
    producer.refresh()
    return producer


def tables(producer, pairs) -> dict[str, np.ndarray]:
    """What the head and the likelihoods say of every caption with every picture, float[captions, pictures]."""
    network, tokens = producer.network, producer.ids(list(pairs.captions))
    with torch.inference_mode():
        picture = network.picture(producer.pixels([image.fromarray(one) for one in pairs.pictures]))
        reading = network.read(tokens, producer.tokens.marks)
        head = ranking.scores(network, reading, picture)
        likelihood = ranking.likelihoods(network, reading, tokens, producer.tokens.marks, picture)
    return {"head": head.numpy(), "likelihood": likelihood.numpy()}


def test_ranking_trains_the_head_and_the_projections(one_thread):
    """A short training; how many pictures a long one finds is in benchmarks/models/flm.py."""
    runs = []
    for seed in (4, 4, 5):
        producer = untrained()
        before = {key: value.clone() for key, value in producer.network.state_dict().items()}
        log = ranking.fit(producer, flags(), steps=3, batch_size=6, contrasted=8, frozen=True, seed=seed)
        after = producer.network.state_dict()
        assert not producer.network.training and len(log.loss) == 3
        runs.append((log.loss, producer.version))
        still = {key for key in after if torch.equal(after[key], before[key])}
        assert {key for key in after if key.startswith("vit_model.")} <= still
        assert not still & {"rank_output.weight", "image_projection", "text_projection", "logit_scale"}
    assert runs[0] == runs[1] != runs[2]
    log = ranking.fit(untrained(), flags(), steps=40, batch_size=6, contrasted=6, learning_rate=2e-3)
    assert np.mean(log.loss[-10:]) < 0.9 * log.loss[0]


@pytest.mark.parametrize("by", ["head", "likelihood"])
def test_a_second_look_puts_hits_in_the_networks_order(ranked, by, one_thread):
    pairs = flags(False)
    table = tables(ranked, pairs)[by]
    assert table.std() > 0.05  # far above the tolerance below
    random = np.random.default_rng(0)
    vectors = random.standard_normal((6, 32)).astype(np.float32)  # an engine that knows nothing
    index = bebr.FlatIndex(bebr.train(vectors, bytes_per_vector=8, metric="cosine"))
    index.add(vectors, ids=np.arange(6) + 100)
    hits = index.search(random.standard_normal((6, 32)).astype(np.float32), 6)
    looks = {
        "pictures": (Reranker(ranked, lambda number: pairs.pictures[number - 100], by, 5), pairs.captions, table),
        "texts": (Reranker(ranked, lambda number: pairs.captions[number - 100], by), pairs.pictures, table.T),
    }
    for what, (look, queries, scores) in looks.items():
        found = look(list(queries), hits)
        assert isinstance(found, bebr.Hits) and found.scores.dtype == np.float32 and found.ids.dtype == np.int64
        assert (np.sort(found.ids, 1) == np.sort(hits.ids, 1)).all() and (np.diff(found.scores, axis=1) <= 0).all()
        np.testing.assert_allclose(
            found.scores, np.take_along_axis(scores, found.ids - 100, 1), atol=1e-3, err_msg=what
        )


def test_scores_are_those_of_single_pairs(ranked, one_thread):
    pairs, network = flags(), ranked.network
    with torch.inference_mode():
        picture = network.picture(ranked.pixels([image.fromarray(one) for one in pairs.pictures[:3]]))
        reading = network.read(ranked.ids(list(pairs.captions[:2])), ranked.tokens.marks)
        table = ranking.scores(network, reading, picture)
        assert table.shape == (2, 3)
        for i in range(2):
            for j in range(3):
                alone = network.read(ranked.ids([pairs.captions[i]]), ranked.tokens.marks)
                wanted = network.rank_output(network.pair(network.look(alone, picture[j : j + 1])))
                assert abs(float(table[i, j]) - float(wanted)) < 1e-4


def test_places_without_a_hit_stay_last(ranked, one_thread):
    pairs = flags()
    hits = bebr.Hits(np.zeros((2, 3), np.float32), np.array([[4, -1, 2], [-1, -1, -1]]))
    found = Reranker(ranked, lambda number: pairs.pictures[number])(list(pairs.captions[:2]), hits)
    assert sorted(found.ids[0, :2].tolist()) == [2, 4] and found.ids[0, 2] == -1 and found.scores[0, 2] == -np.inf
    assert found.ids[1].tolist() == [-1] * 3


def test_what_cannot_be_ranked_is_named(ranked, small):
    pairs, hits = flags(), bebr.Hits(np.zeros((1, 1), np.float32), np.zeros((1, 1), np.int64))
    look = Reranker(ranked, lambda number: pairs.captions[number])
    with pytest.raises(ValueError, match="queries: got 2, wanted one for each of 1 rows of hits"):
        look(["a", "b"], hits)
    with pytest.raises(
        ValueError, match=r"item\(0\): items\[0\]: got str, wanted a pathlib.Path.*as queries\[0\] is of"
    ):
        look(["a"], hits)
    with pytest.raises(ValueError, match="batch_size: got 0, wanted at least 1"):
        Reranker(ranked, pairs.captions.__getitem__, batch_size=0)
    with pytest.raises(ValueError, match="by: got 'itm', wanted head, likelihood"):
        Reranker(ranked, pairs.captions.__getitem__, "itm")
    headless = untrained(dataclasses.replace(TINY, ranked=False))
    with pytest.raises(ValueError, match="producer: its network has no ranking head"):
        Reranker(headless, pairs.captions.__getitem__)
    with pytest.raises(ValueError, match="producer: its network has no ranking head"):
        ranking.fit(headless, pairs, steps=1)
    with pytest.raises(ValueError, match="contrasted: got 128, wanted 2 to 12, the number of pairs"):
        ranking.fit(untrained(), pairs, steps=1, batch_size=4)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
def test_on_a_gpu_the_vectors_are_the_same(folder):
    here, there = (models.load("flm", weights=folder, device=device) for device in ("cpu", "cuda"))
    assert here.version == there.version
    pairs = list(zip(pictures(4), TEXTS, strict=True))
    assert np.abs(here.embed(pairs) - there.embed(pairs)).max() < 1e-4
    log = fit(Flm.fresh(["red over blue"], TINY, device="cuda"), flags(), steps=2, batch_size=10, corruption=0.4)
    assert all(np.isfinite(log.loss))
