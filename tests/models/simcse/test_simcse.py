"""SimCSE: every block against a float64 reference, the published file layout key by key, and that contrast trains."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest

from bebr import models
from bebr.models import weights
from bebr.models.simcse.config import SIZES, Config, manifest, renamed

torch = pytest.importorskip("torch", reason="torch is absent: pip install 'bebr[models]'")
pytest.importorskip("tokenizers", reason="tokenizers is absent: pip install 'bebr[models]'")

from bebr.models.simcse.loss import contrast  # noqa: E402
from bebr.models.simcse.network import Encoder  # noqa: E402
from bebr.models.simcse.tokens import Tokens  # noqa: E402
from bebr.models.simcse.training import fit  # noqa: E402

_spec = importlib.util.spec_from_file_location("simcse_reference", Path(__file__).with_name("reference.py"))
reference = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(reference)

_VOCABULARY = "[PAD] [UNK] [CLS] [SEP] the a dog cat sleeps runs big small red blue house tree ##s ##ing on in . ,"
WORDS = _VOCABULARY.split()
BERT = Config("bert", len(WORDS), 32, 2, 4, 64, 24, 2, 1e-12, 0)
ROBERTA = Config("roberta", 300, 32, 2, 4, 64, 26, 1, 1e-5, 1)


def generated(config: Config, seed: int = 0) -> dict[str, torch.Tensor]:
    """A checkpoint of seeded numbers, made from the manifest and not from the network."""
    random = np.random.default_rng(seed)
    return {
        key: torch.from_numpy(random.normal(1.0 if "LayerNorm.weight" in key else 0.0, 0.15, shape).astype(np.float32))
        for key, shape in manifest(config).items()
    }


def vocabulary(folder: Path, config: Config) -> None:
    """The tokenizer files of a published folder."""
    if config.model_type == "bert":
        (folder / "vocab.txt").write_text("\n".join(WORDS) + "\n")
        return
    from tokenizers.pre_tokenizers import ByteLevel

    marks = ["<s>", "<pad>", "</s>", "<unk>"]
    letters = sorted(ByteLevel.alphabet())
    (folder / "vocab.json").write_text(json.dumps({one: i for i, one in enumerate([*marks, *letters, "do", "dog"])}))
    (folder / "merges.txt").write_text("#version: 0.2\nd o\ndo g\n")


@pytest.fixture(params=[BERT, ROBERTA], ids=lambda config: config.model_type)
def config(request) -> Config:
    return request.param


@pytest.fixture
def folder(config, tmp_path) -> Path:
    """A generated checkpoint as a user has it: weights, config and vocabulary."""
    weights.save(tmp_path, generated(config), config.to_json())
    vocabulary(tmp_path, config)
    return tmp_path


TEXTS = ["The dog sleeps.", "a big red house in the tree, on the house", "cats", ""]


# The blocks


def network(config: Config, dtype: torch.dtype = torch.float64) -> tuple[Encoder, dict[str, np.ndarray]]:
    state = generated(config)
    made = Encoder(config)
    made.load_state_dict(state)
    return made.to(dtype).eval(), {key: value.double().numpy() for key, value in state.items()}


def batch(config: Config) -> tuple[torch.Tensor, torch.Tensor]:
    """Three sentences of 9, 4 and 1 tokens, padded."""
    random = np.random.default_rng(1)
    ids = np.full((3, 9), config.pad_token_id)
    mask = np.zeros((3, 9), np.int64)
    for row, length in enumerate((9, 4, 1)):
        ids[row, :length] = random.integers(2, config.vocab_size, length)
        mask[row, :length] = 1
    return torch.from_numpy(ids), torch.from_numpy(mask)


def test_each_block_is_the_reference_in_float64(config):
    made, state = network(config)
    ids, mask = batch(config)
    with torch.inference_mode():
        x = made.embeddings(ids, mask)
        first, allowed = made.encoder["layer"][0], mask[:, None, None, :].bool()
        attended = first.attention["self"](x, allowed)
        after = first(x, allowed)
        vectors = {pooled: made(ids, mask, pooled) for pooled in (True, False)}
    for row in range(3):
        at = int(mask[row].sum())
        tokens, real = ids[row].tolist(), mask[row].tolist()
        embedded = reference.embeddings(tokens, real, state, config)
        name = "encoder.layer.0"
        assert np.abs(x[row].numpy() - embedded).max() < 1e-12  # padding too: RoBERTa's has a position of its own
        expected = [
            (attended, reference.attention(embedded, real, state, f"{name}.attention.self", config)),
            (after, reference.layer(embedded, real, state, name, config)),
        ]
        for got, wanted in expected:
            assert np.abs(got[row, :at].numpy() - wanted[:at]).max() < 1e-12
        for pooled, got in vectors.items():
            assert np.abs(got[row].numpy() - reference.sentence(tokens, real, state, config, pooled)).max() < 1e-12


def test_float32_is_as_good_as_float32_can_be(config):
    made, state = network(config, torch.float32)
    ids, mask = batch(config)
    with torch.inference_mode():
        got = made(ids, mask).numpy()
    for row in range(3):
        wanted = reference.sentence(ids[row].tolist(), mask[row].tolist(), state, config, True)
        assert np.abs(got[row] - wanted).max() < 2e-6


def test_padding_changes_nothing(config):
    made, _ = network(config)
    ids, mask = batch(config)
    with torch.inference_mode():
        assert torch.allclose(made(ids, mask)[1], made(ids[1:2, :4], mask[1:2, :4])[0], atol=1e-12)


@pytest.mark.parametrize(("hard", "weight"), [(False, 0.0), (True, 0.0), (True, 1.5)])
def test_the_loss_is_the_reference(hard, weight):
    random = np.random.default_rng(2)
    parts = [random.standard_normal((5, 8)) for _ in range(3)]
    anchors, positives, negatives = parts if hard else (*parts[:2], None)
    given = [None if part is None else torch.from_numpy(part) for part in (anchors, positives, negatives)]
    got = contrast(*given, temperature=0.05, hard_weight=weight)
    assert abs(float(got) - reference.contrast(anchors, positives, negatives, 0.05, weight)) < 1e-10


def test_bad_losses_are_named():
    x = torch.ones(3, 4)
    with pytest.raises(ValueError, match=r"got \[\[3, 4\], \[2, 4\]\], wanted one shape \[n, d\]"):
        contrast(x, x[:2])
    with pytest.raises(ValueError, match="temperature: got 0, wanted above 0"):
        contrast(x, x, temperature=0)


@pytest.mark.parametrize("hidden", [True, False])
def test_transformers_agrees(config, hidden, folder):
    transformers = pytest.importorskip("transformers", minversion="4.36")  # from where attention is an option
    theirs = transformers.AutoModel.from_pretrained(str(folder), attn_implementation="eager").eval()
    made, _ = network(config, torch.float32)
    ids, mask = batch(config)
    with torch.inference_mode():
        answer = theirs(input_ids=ids, attention_mask=mask)
        wanted = answer.last_hidden_state[:, 0] if hidden else answer.pooler_output
        assert torch.allclose(made(ids, mask, pooled=not hidden), wanted, atol=2e-6)


# Files

PARAMETERS = {  # of Hugging Face's BertModel and RobertaModel, pooler included
    "bert-base-uncased": 109_482_240,
    "bert-large-uncased": 335_141_888,
    "roberta-base": 124_645_632,
    "roberta-large": 355_359_744,
}


@pytest.mark.parametrize("size", SIZES)
def test_the_manifest_is_that_of_the_published_sizes(size):
    keys = manifest(SIZES[size])
    assert sum(int(np.prod(shape)) for shape in keys.values()) == PARAMETERS[size]
    with torch.device("meta"):
        state = Encoder(SIZES[size]).state_dict()
    assert {key: tuple(value.shape) for key, value in state.items()} == keys


def test_a_generated_checkpoint_embeds(config, folder):
    producer = models.load("simcse", weights=folder, variant="supervised")
    assert (producer.name, producer.dim, producer.metric, producer.modality) == ("simcse", 32, "cosine", "text")
    x = producer.embed(TEXTS)
    assert x.dtype == np.float32 and np.allclose(np.linalg.norm(x, axis=1), 1, atol=1e-6)
    assert np.abs(producer.embed(TEXTS[::-1], batch_size=1)[::-1] - x).max() < 1e-5
    other = models.load("simcse", weights=folder, variant="unsupervised")
    assert other.version != producer.version and np.abs(other.embed(TEXTS) - x).max() > 0.1


def test_saved_and_loaded_is_the_same(config, folder, tmp_path):
    producer = models.load("simcse", weights=folder, variant="unsupervised")
    producer.save(tmp_path / "copy")
    again = models.load("simcse", weights=tmp_path / "copy")  # the folder says which variant
    assert again.version == producer.version and np.array_equal(again.embed(TEXTS), producer.embed(TEXTS))


def test_names_in_circulation_are_understood(config, tmp_path):
    state = generated(config)
    old = {"embeddings.position_ids": torch.arange(5), "lm_head.bias": torch.ones(3), "cls.bias": torch.ones(3)}
    for key, value in state.items():
        name = key.replace("pooler.", "mlp.") if key.startswith("pooler.") else f"{config.model_type}.{key}"
        if config.model_type == "bert" and "LayerNorm" in key:
            name = name.replace(".weight", ".gamma").replace(".bias", ".beta")
        old[name] = value
    torch.save(old, tmp_path / "pytorch_model.bin")
    (tmp_path / "config.json").write_text(json.dumps(config.to_json()))
    vocabulary(tmp_path, config)
    producer = models.load("simcse", weights=tmp_path, variant="supervised")
    assert producer.version.startswith(weights.digest(state)[:16])
    with pytest.raises(ValueError, match="is there twice"):
        renamed({**old, "pooler.dense.weight": old["mlp.dense.weight"]}, config.model_type)


def test_wrong_weights_are_refused_by_name(config, folder):
    state = generated(config)
    value = state.pop("encoder.layer.1.output.dense.bias")
    state["encoder.layer.2.output.dense.bias"] = value
    state["pooler.dense.weight"] = torch.ones(32, 31)
    weights.save(folder, state, config.to_json())
    message = (
        r"1 missing: encoder.layer.1.output.dense.bias; 1 unexpected: encoder.layer.2.output.dense.bias; "
        r"1 of another shape: pooler.dense.weight \[32, 31\] \(wanted \[32, 32\]\)"
    )
    with pytest.raises(ValueError, match=message):
        models.load("simcse", weights=folder, variant="supervised")


def test_what_is_missing_is_named(config, folder, tmp_path):
    def refused(error, message, **options):
        with pytest.raises(error, match=message):
            models.load("simcse", **{"weights": folder, "variant": "supervised", **options})

    refused(ValueError, "weights: got none, but simcse brings none of its own; wanted a folder with", weights=None)
    refused(FileNotFoundError, "no such file or folder; wanted a folder with config.json", weights=tmp_path / "none")
    refused(ValueError, "does not say: give 'supervised' or 'unsupervised'", variant=None)
    refused(ValueError, "variant: got 'cls', wanted 'supervised' or 'unsupervised'", variant="cls")
    refused(ValueError, "max_tokens: got 512, but the network reads at most 24", max_tokens=512)
    raw = json.loads((folder / "config.json").read_text())
    for change, message in (
        ({"hidden_act": "relu"}, "config.json: hidden_act is 'relu', wanted 'gelu'"),
        ({"position_embedding_type": "relative_key"}, "position_embedding_type is 'relative_key', wanted 'absolute'"),
        ({"model_type": "t5"}, "model_type: got 't5', wanted 'bert' or 'roberta'"),
        ({"hidden_size": "32"}, "config.json: hidden_size is '32', wanted a whole number"),
        ({"num_attention_heads": 5}, "hidden_size: got 32, wanted a multiple of 5 attention heads"),
        ({"producer": "rils"}, "is of the producer 'rils', wanted 'simcse'"),
    ):
        (folder / "config.json").write_text(json.dumps({**raw, **change}))
        refused(ValueError, message)
    (folder / "config.json").write_text("{")
    refused(ValueError, "config.json: not JSON")
    (folder / "config.json").write_text(json.dumps(raw))
    for name in ("vocab.txt", "vocab.json"):
        (folder / name).unlink(missing_ok=True)
    refused(FileNotFoundError, "has no tokenizer; wanted tokenizer.json or (vocab.txt|vocab.json with merges.txt)")


def test_a_tokenizer_of_another_model_is_refused(tmp_path):
    small = dataclasses.replace(BERT, vocab_size=10)
    weights.save(tmp_path, generated(small), small.to_json())
    vocabulary(tmp_path, small)
    with pytest.raises(ValueError, match="the tokenizer has 22 entries, but the network 10: they are not of one model"):
        models.load("simcse", weights=tmp_path, variant="supervised")


def test_tokens_of_both_kinds_of_file(tmp_path):
    vocabulary(tmp_path, BERT)
    ids, mask = Tokens.read(tmp_path, "bert", 0, 6)(["The DOGs sleeps.", "cat"])
    assert [WORDS[i] for i in ids[0]] == ["[CLS]", "the", "dog", "##s", "sleeps", "[SEP]"]  # cut to six
    assert [WORDS[i] for i in ids[1]] == ["[CLS]", "cat", "[SEP]", "[PAD]", "[PAD]", "[PAD]"]
    assert mask.tolist() == [[1] * 6, [1, 1, 1, 0, 0, 0]]
    vocabulary(tmp_path, ROBERTA)
    ids, _ = Tokens.read(tmp_path, "roberta", 1, 24)(["dog", "dogs x"])
    dog = json.loads((tmp_path / "vocab.json").read_text())["dog"]
    assert ids[0].tolist() == [0, dog, 2, 1, 1, 1] and ids[1, :2].tolist() == [0, dog] and ids[1, -1] == 2


# Training


@pytest.fixture
def one_thread():
    """Networks this small lose most of their time to threads that wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("supervised", [False, True])
def test_contrast_draws_pairs_together(tmp_path, supervised, one_thread):
    # 32 dimensions stand little dropout; only the unsupervised contrast needs it
    drop = 0.0 if supervised else 0.1
    shallow = dataclasses.replace(
        BERT, num_hidden_layers=1, hidden_dropout_prob=drop, attention_probs_dropout_prob=drop
    )
    weights.save(tmp_path, generated(shallow), shallow.to_json())
    vocabulary(tmp_path, shallow)
    producer = models.load("simcse", weights=tmp_path, variant="supervised")
    other = {"sleeps": "runs", "runs": "sleeps", "in": "on", "on": "in"}
    scenes = [(size, thing, verb) for size in ("big", "red") for thing in ("dog", "cat", "house") for verb in other]
    change = {"big": "small", "red": "blue"}
    anchors = [f"the {size} {thing} {verb}" for size, thing, verb in scenes]
    positives = [f"a {change[size]} {thing} {verb}" for size, thing, verb in scenes]
    negatives = [f"a {size} {thing} {other[verb]}" for size, thing, verb in scenes]
    pairs = (positives, negatives) if supervised else (None, None)
    before, version = producer.embed(anchors), producer.version

    def matched() -> float:
        nearest = (producer.embed(anchors) @ producer.embed(positives).T).argmax(1)
        return float(np.mean(nearest == np.arange(len(anchors))))

    untrained = matched()
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    losses = fit(producer, anchors, *pairs, steps=60, batch_size=12, learning_rate=3e-3)
    assert torch.equal(torch.rand(1), expected)  # the caller's random numbers are left alone
    assert producer.version != version and not producer.network.training
    assert np.mean(losses[-10:]) < 0.7 * np.mean(losses[:5])
    after = producer.embed(anchors)
    # what contrast is for: sentences that were one heap are spread out
    assert (after @ after.T).mean() < (before @ before.T).mean() - 0.15
    if supervised:
        assert untrained < 0.4 and matched() == 1.0


def test_training_repeats_itself_and_names_what_is_wrong(tmp_path, one_thread):
    weights.save(tmp_path, generated(BERT), BERT.to_json())
    vocabulary(tmp_path, BERT)
    texts = ["dog sleeps", "cat runs", "red house", "blue tree"]
    runs = []
    for _ in range(2):
        producer = models.load("simcse", weights=tmp_path, variant="unsupervised")
        runs.append((fit(producer, texts, steps=3, batch_size=2, seed=4), producer.version))
    assert runs[0] == runs[1]
    with pytest.raises(ValueError, match="negatives: got 1, wanted one for each of 4 anchors"):
        fit(producer, texts, texts, ["a"])
    with pytest.raises(ValueError, match="batch_size: got 64, wanted 2 to 4, the number of anchors"):
        fit(producer, texts)
    with pytest.raises(ValueError, match="steps: got 0"):
        fit(producer, texts, batch_size=2, steps=0)
