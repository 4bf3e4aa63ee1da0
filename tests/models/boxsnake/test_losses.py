"""BoxSnake's masks, losses and polygons against loops over pixels, and one polygon found without a network."""

from __future__ import annotations

import math

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is absent: pip install 'bebr[models]'")
pytest.importorskip("PIL", reason="Pillow is absent: pip install 'bebr[models]'")

from bebr.models.boxsnake.align import align  # noqa: E402
from bebr.models.boxsnake.colour import lab, views  # noqa: E402
from bebr.models.boxsnake.direct import losses, outlines  # noqa: E402
from bebr.models.boxsnake.loss import affinity, pairwise, region, unary  # noqa: E402
from bebr.models.boxsnake.polygons import coverage, ellipse, resampled, shape_vectors  # noqa: E402
from bebr.models.boxsnake.raster import inside, soft  # noqa: E402


@pytest.fixture(autouse=True)
def _quick(one_thread):
    pass


def polygons(count, vertices, side, seed=0):
    """Of random points: they cross themselves, which a winding number settles."""
    return torch.from_numpy(np.random.default_rng(seed).uniform(-1, side + 1, (count, vertices, 2)))


def winding(polygon, x, y):
    """By the angle that the outline turns about the point."""
    at = np.asarray(polygon) - [x, y]
    angles = np.arctan2(at[:, 1], at[:, 0])
    turns = np.diff(np.r_[angles, angles[0]])
    return round(((turns + np.pi) % (2 * np.pi) - np.pi).sum() / (2 * np.pi))


def distance(polygon, x, y):
    found = math.inf
    for a, b in zip(polygon, np.roll(polygon, -1, 0), strict=True):
        part = np.clip(np.dot([x, y] - a, b - a) / np.dot(b - a, b - a), 0, 1)
        found = min(found, math.hypot(*([x, y] - a - part * (b - a))))
    return found


def test_a_mask_is_what_its_formula_says():
    drawn = polygons(3, 7, 6)
    masks, within = soft(drawn, 6, 5, tau=0.5), inside(drawn, 6, 5)
    for polygon, mask, one in zip(drawn.numpy(), masks, within, strict=True):
        for row in range(6):
            for column in range(5):
                x, y = column + 0.5, row + 0.5
                sign = 1 if winding(polygon, x, y) else -1
                assert bool(one[row, column]) == (sign == 1)
                assert mask[row, column].item() == pytest.approx(
                    1 / (1 + math.exp(-sign * distance(polygon, x, y) ** 2 / 0.5)), abs=1e-12
                )


def test_the_gradient_of_a_mask_is_exact():
    drawn = polygons(2, 6, 5, seed=1).requires_grad_()
    weights = torch.from_numpy(np.random.default_rng(6).normal(size=(2, 5, 4)))

    def total(vertices):
        return (soft(vertices, 5, 4, tau=1.0) * weights).sum()

    total(drawn).backward()
    with torch.no_grad():
        for place in np.ndindex(2, 6, 2):
            step = torch.zeros_like(drawn)
            step[place] = 1e-5
            slope = (total(drawn + step) - total(drawn - step)) / 2e-5
            assert drawn.grad[place].item() == pytest.approx(slope.item(), abs=1e-8)
    # a square: pixel centres as near to two edges as to one another's corner are no exception
    square = torch.tensor([[[1.0, 1.0], [3.0, 1.0], [3.0, 3.0], [1.0, 3.0]]], dtype=torch.float64)
    assert inside(square, 4, 4)[0].int().tolist() == [[0] * 4, [0, 1, 1, 0], [0, 1, 1, 0], [0] * 4]
    assert torch.equal(soft(square, 4, 4), soft(square.flip(1), 4, 4))  # either way round


def test_masks_refuse_what_is_no_polygon():
    with pytest.raises(ValueError, match=r"vertices: got \[1, 2, 2\], wanted"):
        soft(torch.zeros(1, 2, 2), 4, 4)
    with pytest.raises(ValueError, match=r"tau: got 0, wanted above 0"):
        soft(torch.zeros(1, 3, 2), 4, 4, tau=0)


def test_the_unary_loss_is_the_complete_iou():
    square = ellipse(torch.tensor([[0.0, 0.0, 4.0, 2.0]], dtype=torch.float64), 64)
    low, high = square[0].amin(0), square[0].amax(0)
    assert unary(square, torch.cat([low, high])[None]).item() == pytest.approx(0, abs=1e-6)
    corners = torch.tensor([[[0.0, 0.0], [2.0, 0.0], [2.0, 2.0], [0.0, 2.0]]], dtype=torch.float64).requires_grad_()
    box = torch.tensor([[1.0, 0.0, 5.0, 2.0]], dtype=torch.float64)
    iou, slant = 2 / 10, 4 / math.pi**2 * (math.atan(2) - math.atan(1)) ** 2
    wanted = 1 - iou + 2**2 / (5**2 + 2**2) + slant / (1 - iou + slant) * slant
    assert unary(corners, box).item() == pytest.approx(wanted, abs=1e-6)
    unary(corners, box).sum().backward()
    assert corners.grad.abs().sum() > 0


def test_colours_near_each_other_are_drawn_to_one_side():
    random = np.random.default_rng(2)
    colours = torch.from_numpy(random.normal(size=(2, 3, 5, 6)))
    masks = torch.from_numpy(random.random((2, 5, 6)))
    within = torch.zeros(5, 6, dtype=torch.bool)
    within[1:4, 1:5] = True
    found = pairwise(masks, affinity(colours, within, sigma=2.0))
    for i in range(2):
        top = bottom = 0.0
        for r in range(1, 4):
            for c in range(1, 5):
                for dr, dc in ((a, b) for a in (-2, 0, 2) for b in (-2, 0, 2) if a or b):
                    if 0 <= r + dr < 5 and 0 <= c + dc < 6:
                        other = colours[i, :, r + dr, c + dc]
                        weight = math.exp(-float((colours[i, :, r, c] - other).norm()) / 2)
                        top += weight * abs(float(masks[i, r, c] - masks[i, r + dr, c + dc]))
                        bottom += weight
        assert found[i].item() == pytest.approx(top / bottom, abs=1e-9)


def test_each_side_is_drawn_to_one_colour():
    random = np.random.default_rng(3)
    pixels, mask = random.normal(size=(3, 4, 5)), random.random((4, 5))
    wanted = 0.0
    for side in (mask, 1 - mask):
        mean = (pixels * side).sum((1, 2)) / side.sum()
        wanted += (((pixels - mean[:, None, None]) ** 2).mean(0) * side).mean()
    found = region(torch.from_numpy(mask)[None], torch.from_numpy(pixels)[None])
    assert found.item() == pytest.approx(wanted, abs=1e-9)


def test_lab_has_its_known_values():
    colours = torch.tensor([[1.0, 1, 1], [0, 0, 0], [1, 0, 0], [0, 0, 1]], dtype=torch.float64)
    found = lab(colours.T[None, :, None])[0, :, 0].T
    wanted = [[100, 0, 0], [0, 0, 0], [53.24, 80.09, 67.20], [32.30, 79.19, -107.86]]  # published conversions
    assert np.abs(found.numpy() - wanted).max() < 0.05


def test_a_box_is_read_bilinearly():
    feature = torch.from_numpy(np.random.default_rng(4).normal(size=(2, 3, 6, 7)))
    boxes = torch.tensor([[1.0, 1.0, 3.0, 3.0], [-2.0, 3.5, 9.0, 7.0], [2.2, 0.1, 2.9, 5.3]], dtype=torch.float64)
    of = torch.tensor([0, 1, 1])
    found = align(feature, boxes, of, 2)
    assert torch.allclose(found[0], feature[0, :, 1:3, 1:3])  # whole pixels: themselves
    for i in (1, 2):
        left, top, right, bottom = boxes[i].tolist()
        across, down = (max(1, math.ceil(side / 2)) for side in (right - left, bottom - top))
        cells = np.zeros((3, 2, 2))
        for row in range(2 * down):
            for column in range(2 * across):
                x = left + (column + 0.5) / (2 * across) * (right - left) - 0.5
                y = top + (row + 0.5) / (2 * down) * (bottom - top) - 0.5
                if not (-1 < x < 7 and -1 < y < 6):
                    continue
                x, y = min(max(x, 0), 6), min(max(y, 0), 5)
                c, r = min(int(x), 5), min(int(y), 4)
                corners = feature[of[i], :, r : r + 2, c : c + 2].numpy()
                rows = corners @ np.array([1 - (x - c), x - c])
                cells[:, row // down, column // across] += rows @ np.array([1 - (y - r), y - r]) / (across * down)
        assert np.abs(found[i].numpy() - cells).max() < 1e-9


def test_a_shape_stays_one_wherever_it_lies():
    angle = torch.linspace(0, 2 * math.pi, 41, dtype=torch.float64)[:-1]
    star = torch.stack([angle.cos(), angle.sin()], 1) * (1 + 0.4 * (5 * angle).sin()[:, None])
    turn = torch.tensor([[0.6, -0.8], [0.8, 0.6]], dtype=torch.float64)
    # the points are laid anew from another start, so equal to the resampling and not to the bit
    moved = (7.5 * star @ turn + torch.tensor([30.0, -4.0])).roll(16, 0)
    blob = ellipse(torch.tensor([[0.0, 0.0, 5.0, 3.0]], dtype=torch.float64), 40)[0]
    a, b, c, d = shape_vectors(torch.stack([star, moved, star.flip(0), blob]))
    assert a.shape == (64,) and a.norm().item() == pytest.approx(1)
    assert a @ b > 0.999 and a @ c > 0.999 and a @ d < 0.98
    even = resampled(star[None], 64)[0]
    steps = (even.roll(-1, 0) - even).norm(dim=1)
    assert steps.max() / steps.median() < 1.01  # chords of equal arcs: shorter at corners only


def test_coverage_counts_parts_of_cells():
    found = coverage(torch.tensor([[1.0, 1.0], [3.5, 1.0], [3.5, 2.0], [1.0, 2.0]]), 4, 5)
    assert found[1].tolist() == [0, 1, 1, 0.5, 0] and found.sum() == 2.5
    assert coverage(torch.tensor([[9.0, 1.0], [9.1, 1.0], [9.1, 1.1]]), 4, 5).nonzero().tolist() == [[1, 4]]


def cross(side=48, arm=6):
    """A yellow plus sign on blue, and its mask."""
    mask = np.zeros((side, side), bool)
    mask[8:40, 24 - arm : 24 + arm] = mask[24 - arm : 24 + arm, 8:40] = True
    picture = np.where(mask[..., None], [0.9, 0.8, 0.1], [0.1, 0.2, 0.7])
    picture = picture + np.random.default_rng(5).normal(0, 0.02, picture.shape)
    return torch.from_numpy(picture.clip(0, 1)).permute(2, 0, 1)[None].float(), torch.from_numpy(mask)


def test_a_polygon_is_found_from_box_and_colours():
    picture, mask = cross()
    box, of = torch.tensor([[8.0, 8.0, 40.0, 40.0]]), torch.zeros(1, dtype=torch.long)

    def iou(weights):
        found = outlines(picture, box, of, weights, vertices=24, side=24, steps=60, learning_rate=0.03)
        drawn = inside(found, 48, 48)[0]
        return ((drawn & mask).sum() / (drawn | mask).sum()).item()

    box_alone, all_three = iou((1, 0, 0)), iou((1, 0.5, 0.03))
    assert box_alone < 0.75 < all_three
    seen = views(picture, box, of, 32, 2)
    unit = ellipse(torch.tensor([[0.0, 0.0, 1.0, 1.0]]), 32)
    parts = [losses(unit, seen, weights) for weights in ((1, 0, 0), (0, 1, 0), (0, 0, 1))]
    assert torch.allclose(losses(unit, seen, (1, 2, 3)), parts[0] + 2 * parts[1] + 3 * parts[2])
    with pytest.raises(ValueError, match="weights: got"):
        outlines(picture, box, of, (1, 0))
