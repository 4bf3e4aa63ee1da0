"""A2MC: skeletons, clips, encoders against their equations, banks, attack and mixes, training, files."""

from __future__ import annotations

import json

import numpy as np
import pytest

from bebr import models
from bebr.models import clips as files_of_clips
from bebr.models import items
from tests.commands import done

torch = pytest.importorskip("torch", reason="torch is absent: pip install 'bebr[models]'")

from bebr.models.a2mc import training  # noqa: E402
from bebr.models.a2mc.attack import attacked, perceptual, random_step  # noqa: E402
from bebr.models.a2mc.config import SIZES, Config, manifest  # noqa: E402
from bebr.models.a2mc.contrast import Bank, info_nce, mix_released  # noqa: E402
from bebr.models.a2mc.network import Network  # noqa: E402
from bebr.models.a2mc.prepare import prepared, resampled, turning  # noqa: E402
from bebr.models.a2mc.producer import A2mc  # noqa: E402
from bebr.models.a2mc.sets import nw_ucla, utd_mhad  # noqa: E402
from bebr.models.a2mc.skeleton import SKELETONS  # noqa: E402
from bebr.models.a2mc.synthetic import made  # noqa: E402
from bebr.models.a2mc.training import fit  # noqa: E402
from bebr.models.a2mc.views import hidden_joints, view, views  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_thread")
SMALL = Config("kinect", 16, 2, 4, 8, 4, 16, 2)
KINECT = SKELETONS["kinect"]
UTD = [3, 2, 1, 0, *range(4, 20)]  # there the head is first, the hips fourth


def generated(config, seed=0):
    """Weights of seeded numbers, made from the manifest and not from the network."""
    random, state = np.random.default_rng(seed), {}
    for key, shape in manifest(config).items():
        middle = 1.0 if len(shape) == 1 and key.endswith(("weight", "running_var")) else 0.0
        value = random.normal(middle, 0.2, shape).astype(np.float32)
        state[key] = torch.from_numpy(np.abs(value) + 0.1 if key.endswith("running_var") else value)
    return state


def unit(random, *shape):
    x = random.normal(size=shape)
    return torch.from_numpy(x / np.linalg.norm(x, axis=-1, keepdims=True))


# Skeletons and clips


@pytest.mark.parametrize("name", list(SKELETONS))
def test_a_skeleton_is_a_tree_with_two_sides(name):
    skeleton = SKELETONS[name]
    assert skeleton.joints == {"ntu": 25, "kinect": 20}[name] and len(skeleton.bones) == skeleton.joints - 1
    for joint in range(skeleton.joints):
        for _ in range(skeleton.joints):
            joint = skeleton.parents[joint]
        assert skeleton.parents[joint] == joint  # every way up ends at the one root
    assert [skeleton.mirrored[one] for one in skeleton.mirrored] == list(range(skeleton.joints))
    assert all(
        skeleton.mirrored[skeleton.parents[joint]] == skeleton.parents[skeleton.mirrored[joint]]
        for joint in range(skeleton.joints)
    )
    graphs = skeleton.adjacency()
    assert set(np.unique(graphs[:2].sum(1))) <= {0.0, 1.0} and np.count_nonzero(graphs[1:]) == 2 * len(skeleton.bones)
    assert np.array_equal(graphs[1] > 0, graphs[2].T > 0)


def test_a_clip_is_brought_to_where_all_begin():
    clip = made(1, noise=0.0, seed=3).clips[0].copy()
    clip[:2] = clip[7] = 0
    out = prepared(clip, KINECT, 2)
    assert out.shape == (len(clip), 2, 20, 3) and not out[:, 1].any()
    assert np.allclose(out[0], out[2]) and np.allclose(out[1], out[2]) and np.allclose(out[7], out[6])
    assert np.allclose(out[0, 0, 1], 0, atol=1e-6)
    shoulders = out[0, 0, 8] - out[0, 0, 4]
    assert np.allclose(shoulders / np.linalg.norm(shoulders), [1, 0, 0], atol=1e-5)
    spine = out[0, 0, 1] - out[0, 0, 0]
    assert spine[2] > 0.9 * np.linalg.norm(spine)  # the second turn may tilt what the first set upright
    apart = np.linalg.norm(out[5, 0] - out[20, 0], axis=1) - np.linalg.norm(clip[5, 0] - clip[20, 0], axis=1)
    assert np.abs(apart).max() < 1e-5
    assert not prepared(np.zeros_like(clip), KINECT, 1).any()
    with pytest.raises(ValueError, match="got 20 joints, wanted 25"):
        prepared(clip, SKELETONS["ntu"], 1)
    for target in ([0, 0, 1], [0, 0, -1], [1, 2, -3]):
        matrix = turning(np.array([0, 0, 2.0]), np.array(target, float))
        assert np.allclose(matrix @ [0, 0, 1], target / np.linalg.norm(target)) and np.isclose(np.linalg.det(matrix), 1)


def test_a_part_is_resampled_by_straight_lines():
    clip = (np.arange(5.0)[:, None, None, None] * np.ones((1, 1, 20, 3))).astype(np.float32)
    assert np.array_equal(resampled(clip, 5, 0, 1), clip)
    assert np.allclose(resampled(clip, 3, 0.25, 0.5)[:, 0, 0, 0], [1, 2, 3])
    assert np.allclose(resampled(clip, 9)[[0, -1], 0, 0, 0], [0.1, 3.9])
    assert np.array_equal(resampled(clip[:1], 4), np.repeat(clip[:1], 4, 0))


def test_views_are_drawn_and_stay_in_shape():
    random = np.random.default_rng(0)
    clip = prepared(made(1).clips[0], KINECT, 1)
    for _ in range(20):
        chosen = hidden_joints(KINECT, 6, random)
        assert len(set(chosen)) == 6
        assert all(set(KINECT.neighbours[joint]) & set(chosen[:at]) for at, joint in enumerate(chosen) if at)
    drawn = [view(clip, 32, 16, KINECT, random) for _ in range(40)]
    assert all(one.shape == (32, 1, 20, 3) and one.dtype == np.float32 for one in drawn)
    joints = [int((~one.any((0, 1, 3))).sum()) for one in drawn]
    times = [int((~one.any((1, 2, 3))).sum()) for one in drawn]
    assert set(joints) == {0, 6} and set(times) == {0, 12}
    two = [views([clip] * 2, 32, 16, KINECT, np.random.default_rng(5)) for _ in range(2)]
    assert two[0].shape == (2, 1, 32, 20, 3) and np.array_equal(*two)


def test_files_of_both_sets_are_read_into_one_order(tmp_path):
    random = np.random.default_rng(0)
    body = random.normal(size=(6, 20, 3))
    np.save(tmp_path / "a.npy", body.astype(np.float32))
    (tmp_path / "a01_s02_e03_v03.json").write_text(json.dumps({"label": 1, "skeletons": body.tolist()}))
    read = files_of_clips.clip(tmp_path / "a.npy", "x")
    assert read.shape == (6, 1, 20, 3) and read.dtype == np.float32
    assert np.array_equal(files_of_clips.clip(tmp_path / "a01_s02_e03_v03.json", "x"), read)
    assert np.array_equal(files_of_clips.clip(body[:, None], "x"), read)
    found = nw_ucla(tmp_path)
    assert found.what == "NW-UCLA" and found.labels.tolist() == [1] and found.held_out.tolist() == [True]
    scipy = pytest.importorskip("scipy.io")
    scipy.savemat(tmp_path / "a1_s3_t1_skeleton.mat", {"d_skel": body[:, UTD].transpose(1, 2, 0)})
    assert np.array_equal(files_of_clips.clip(tmp_path / "a1_s3_t1_skeleton.mat", "x"), read)
    assert utd_mhad(tmp_path).part(False)[1].tolist() == [1]
    with pytest.raises(FileNotFoundError, match="no such folder; wanted the files of NW-UCLA"):
        nw_ucla(tmp_path / "none")


def test_what_is_no_clip_is_named(tmp_path):
    good = np.zeros((4, 20, 3), np.float32)
    assert items.check([good, tmp_path / "a.npy"], "clip") == "clip"
    with pytest.raises(
        ValueError, match=r"items\[1\]: got an array int64 \[4, 20, 3\], wanted a pathlib.Path, or floats"
    ):
        items.check([good, good.astype(np.int64)], "clip")
    np.save(tmp_path / "a.npy", good[:, :, :2])
    np.save(tmp_path / "b.npy", np.array([None]), allow_pickle=True)
    (tmp_path / "c.json").write_text('{"joints": []}')
    (tmp_path / "d.mat").write_bytes(b"no")
    (tmp_path / "e.txt").write_text("")
    for name, message in (
        ("a.npy", r"a.npy: got float32 \[4, 20, 2\], wanted floats"),
        ("b.npy", "not a readable clip: Object arrays"),
        ("c.json", "not a readable clip: 'skeletons'"),
        ("d.mat", "not a readable clip"),
        ("e.txt", "got suffix '.txt', wanted .json, .mat, .npy"),
    ):
        with pytest.raises(ValueError, match=rf"items\[3\]: .*{message}"):
            items.opened("clip", tmp_path / name, "items[3]")
    with pytest.raises(FileNotFoundError, match=r"x: .*gone.npy: no such file"):
        items.opened("clip", tmp_path / "gone.npy", "x")
    with pytest.raises(ValueError, match="not finite"):
        items.opened("clip", good + np.nan, "x")


# Encoders and files


def test_the_streams_are_their_equations(reference):
    state = generated(SMALL)
    network = Network(SMALL)
    network.load_state_dict(state)
    network.eval()
    clips = torch.from_numpy(np.random.default_rng(1).normal(0, 0.5, (2, 2, 16, 20, 3)).astype(np.float32))
    exact = {key: value.double().numpy() for key, value in state.items()}
    with torch.inference_mode():
        for stream in ("gcn_t", "gcn_s"):
            got = getattr(network, stream)(clips).numpy()
            wanted = np.stack([reference.graph_network(clip.double().numpy(), exact, stream) for clip in clips])
            assert got.shape == (2, 2, 4, 16, 20) and np.abs(got - wanted).max() < 1e-4 * np.abs(wanted).max()
        # one token a frame: of all bodies, joints and channels; one a joint of a body: of all frames and channels
        frames = np.stack(
            [network.gcn_t(clips).numpy()[:, :, :, t].transpose(0, 1, 3, 2).reshape(2, -1) for t in range(16)], 1
        )
        x = network.gcn_s(clips).numpy()
        joints = np.stack([x[:, m, :, :, v].transpose(0, 2, 1).reshape(2, -1) for m in range(2) for v in range(20)], 1)
        timed, placed = network(clips)
        for got, tokens, stream in ((timed, frames, "t"), (placed, joints, "s")):
            channel, encoder = getattr(network, f"channel_{stream}"), getattr(network, f"{stream}_encoder")
            assert torch.allclose(got, encoder(channel(torch.from_numpy(tokens))).amax(1), atol=1e-5)


@pytest.mark.parametrize("size", list(SIZES))
def test_the_manifest_is_the_network_s(size):
    with torch.device("meta"):
        network = Network(SIZES[size])
    assert {key: tuple(value.shape) for key, value in network.state_dict().items()} == manifest(SIZES[size])


def test_a_published_file_loads_by_its_keys(tmp_path, monkeypatch):
    monkeypatch.setitem(SIZES, "ntu", SMALL)
    state = generated(SMALL)
    file = {f"encoder_q.encoder.{key}": value for key, value in state.items()}
    file |= {f"encoder_k.encoder.{key}": value + 1 for key, value in state.items()}
    file |= {"encoder_q.t_proj.0.weight": torch.ones(3), "attack_fc.bias": torch.ones(3), "i_queue.W": torch.ones(3)}
    file["encoder_q.encoder.gcn_t.data_bn.num_batches_tracked"] = torch.tensor(7)
    torch.save({"epoch": 451, "state_dict": file, "optimizer": {}}, tmp_path / "a.pth.tar")
    producer = models.load("a2mc", weights=tmp_path / "a.pth.tar", size="ntu")
    found = producer.network.state_dict()
    assert found.keys() == state.keys() and all(torch.equal(found[key], state[key]) for key in state)
    assert (producer.name, producer.dim, producer.metric, producer.modality) == ("a2mc", 32, "cosine", "clip")
    del file["encoder_q.encoder.gcn_s.l2.gcn1.PA"]
    torch.save({"state_dict": file}, tmp_path / "b.pth")
    with pytest.raises(ValueError, match=r"1 missing: gcn_s\.l2\.gcn1\.PA"):
        models.load("a2mc", weights=tmp_path / "b.pth", size="ntu")
    for wrong, message in (({"skeleton": "cat"}, "skeleton: got 'cat'"), ({"wide": 10}, "wide: got 10, wanted a mult")):
        with pytest.raises(ValueError, match=message):
            Config(**wrong)


def test_clips_become_vectors_on_the_command_line(tmp_path):
    scipy = pytest.importorskip("scipy.io")
    A2mc.fresh(SMALL).save(tmp_path / "weights")
    producer = models.load("a2mc", weights=tmp_path / "weights")
    clips = made(5).clips
    x = producer.embed(clips, batch_size=2)
    assert x.shape == (5, 32) and np.allclose(np.linalg.norm(x, axis=1), 1, atol=1e-6)
    assert np.abs(producer.embed([clip[:, 0] for clip in clips]) - x).max() < 1e-5
    (tmp_path / "clips").mkdir()
    (tmp_path / "clips" / "0.json").write_text(json.dumps({"skeletons": clips[0][:, 0].tolist()}))
    scipy.savemat(tmp_path / "clips" / "1.mat", {"d_skel": clips[1][:, 0, UTD].transpose(1, 2, 0)})
    for number in range(2, 5):
        np.save(tmp_path / "clips" / f"{number}.npy", clips[number])
    done("embed", tmp_path / "clips", "-p", "a2mc", "--weights", tmp_path / "weights", "-o", tmp_path / "x.npy")
    assert np.abs(np.load(tmp_path / "x.npy") - x).max() < 1e-5
    with pytest.raises(
        ValueError, match=r"items\[0\]: got str, wanted a pathlib.Path, or floats \[frames, joints, 3\]"
    ):
        producer.embed(["walk"])


# Contrast, banks, attack


def test_a_bank_climbs_by_the_gradient_of_its_loss():
    random = np.random.default_rng(0)
    q, k = unit(random, 4, 8), unit(random, 4, 8)
    bank = Bank(8, 12, 4, torch.Generator().manual_seed(0)).double()
    bank.W.mul_(1.7)
    before, momentum = bank.W.clone().requires_grad_(), torch.from_numpy(random.normal(size=(8, 12)))
    bank.v.copy_(momentum)
    loss = info_nce(q, k, torch.nn.functional.normalize(before, dim=0), 0.03)
    (uphill,) = torch.autograd.grad(loss, before)
    bank.harden(q, k)
    moved = 0.9 * momentum - uphill + 1e-4 * before.detach()
    assert torch.allclose(bank.v, moved, atol=1e-10)
    assert torch.allclose(bank.W, before.detach() - 3 * moved, atol=1e-10)


def test_a_bank_is_a_queue_or_takes_queries_up():
    bank = Bank(2, 4, 2, torch.Generator())
    keys = torch.eye(2)
    bank.replace(keys)
    bank.replace(-keys)
    bank.replace(torch.tensor([[0.6, 0.8], [0.8, 0.6]]))
    assert torch.allclose(bank.W.T, torch.tensor([[0.6, 0.8], [0.8, 0.6], [-1.0, 0.0], [0.0, -1.0]]))
    bank.mix(torch.tensor([[1.0, 0.0]]))
    mixed = torch.tensor([0.9 * 0.8 + 0.1, 0.9 * 0.6])
    assert torch.allclose(bank.W[:, 1], mixed / mixed.norm()) and torch.allclose(bank.W[:, 0], torch.tensor([0.6, 0.8]))
    with pytest.raises(ValueError, match="bank: got 10, wanted a multiple of the batch, 4"):
        Bank(2, 10, 4, torch.Generator())


def test_the_released_mix_is_a_push_away_from_the_bank():
    random = np.random.default_rng(1)
    q = {head: unit(random, 3, 8) for head in "tsi"}
    banks = {head: Bank(8, 6, 3, torch.Generator().manual_seed(ord(head))).double() for head in "tsi"}
    s = np.mean(
        [
            float((q[asks][n] * banks[asked].negatives()[:, row]).sum())
            for asks, asked in (("t", "i"), ("s", "i"), ("i", "t"), ("i", "s"))
            for row in range(6)
            for n in [row % 3]
        ]
    )
    assert abs(float(mix_released(q, banks, 0.2)) - (0.7 * s - 0.7) / 0.2) < 1e-9


def test_one_step_of_the_attack_is_a_step_by_the_gradient_s_sign():
    clips = torch.from_numpy(np.stack([prepared(one, KINECT, 1)[:20] for one in made(3).clips])).double()
    clips = clips.transpose(1, 2).contiguous()
    head = torch.from_numpy(np.random.default_rng(2).normal(size=(20 * 20 * 3, 6)))

    def classify(x):
        return torch.tanh(x.flatten(1)) @ head

    at = clips.clone().requires_grad_()
    (still,) = torch.autograd.grad(perceptual(at, clips, KINECT), at)
    assert not still.any()
    changed = attacked(clips, classify, KINECT, 1e-3)
    labels = classify(clips).argmax(1)
    at = clips.clone().requires_grad_()
    (uphill,) = torch.autograd.grad(torch.nn.functional.cross_entropy(classify(at), labels), at)
    assert torch.allclose(changed - clips, 1e-3 * 0.6 * uphill / (0.6 * uphill.abs() + 3e-7), atol=1e-12)
    loss = [torch.nn.functional.cross_entropy(classify(x), labels) for x in (clips, changed)]
    assert loss[1] > loss[0] and not changed.requires_grad
    several = attacked(clips, classify, KINECT, 1e-3, steps=4)
    assert torch.nn.functional.cross_entropy(classify(several), labels) > loss[1]
    step = random_step(clips, 1e-3, torch.Generator().manual_seed(0)) - clips
    assert torch.allclose(step.abs(), torch.full_like(step, 1e-3)) and abs(float(step.mean())) < 1e-4


# Training


@pytest.mark.parametrize(
    ("bank", "attack", "mix"),
    [("queue", None, None), ("adversarial", "gradient", "bank"), ("adversarial", "random", "released")],
)
def test_every_arm_trains(bank, attack, mix, tmp_path):
    clips = made(8, classes=2, subjects=2).clips
    made_of = [A2mc.fresh(SMALL) for _ in range(2 if mix == "bank" else 1)]
    for producer in made_of:
        log = fit(producer, clips, bank, attack, mix, steps=3, batch_size=4, bank_size=8, attack_size=1e-2)
        assert len(log.loss) == 3 and np.isfinite(log.loss).all()
    assert len({producer.version for producer in made_of}) == 1 and A2mc.fresh(SMALL).version != producer.version
    assert not producer.network.training
    producer.save(tmp_path)
    assert models.load("a2mc", weights=tmp_path).version == producer.version


def test_keys_are_normed_by_their_batch_and_follow_slowly(monkeypatch):
    seen = []

    def watched(key, clips):
        seen.append((key.network.training, key.network.channel_t[0].weight.clone()))
        return keys(key, clips)

    keys = training._keys
    monkeypatch.setattr(training, "_keys", watched)
    producer = A2mc.fresh(SMALL)
    start = producer.network.channel_t[0].weight.detach().clone()
    fit(producer, made(4).clips, "queue", None, None, steps=2, batch_size=4, bank_size=4)
    end = producer.network.channel_t[0].weight
    assert [one for one, _ in seen] == [True, True] and torch.equal(seen[0][1], start)
    assert 0 < (seen[1][1] - start).abs().max() < 0.01 * (end - start).abs().max()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"bank": "big"}, "bank: got 'big', wanted adversarial, queue"),
        ({"attack": "sign"}, "attack: got 'sign', wanted gradient, random, None"),
        ({"mix": "paper"}, "mix: got 'paper', wanted bank, released, None"),
        ({"bank": "queue"}, "mix: 'bank' mixes queries into adversarial negatives"),
        ({"batch_size": 9}, "got 1 and 9, wanted at least 1, and 2 to 4, the number of clips"),
        ({"bank_size": 7}, "bank: got 7, wanted a multiple of the batch, 4"),
    ],
)
def test_settings_out_of_range_are_named(settings, message):
    with pytest.raises(ValueError, match=message):
        fit(A2mc.fresh(SMALL), made(4).clips, **{"steps": 1, "batch_size": 4, **settings})


def test_made_up_bodies_have_bones_of_their_own():
    made_up = made(40, classes=4, subjects=3, noise=0.0, seed=1)
    assert made_up.what == "synthetic" and made_up.held_out.sum() == 12
    lengths = np.stack(
        [[np.linalg.norm(clip[:, 0, a] - clip[:, 0, b], axis=1) for a, b in KINECT.bones] for clip in made_up.clips[:1]]
    )
    assert np.ptp(lengths, axis=2).max() < 1e-5
    again = made(40, classes=4, subjects=3, noise=0.0, seed=1)
    assert all(np.array_equal(a, b) for a, b in zip(made_up.clips, again.clips, strict=True))
    assert {len(part[1]) for part in (made_up.part(True), made_up.part(False))} == {12, 28}
    with pytest.raises(ValueError, match="wanted at least 1 of each"):
        made(0)
