"""One split: ranges, batches, and draws that are seeded, nested and leave the global generator alone."""

import pytest
import torch
from torch.utils.data import DataLoader

from steelman.data import Images
from steelman.errors import InputError


def split(n=50, **changes):
    pixels = torch.arange(n * 2 * 3, dtype=torch.int64).remainder(256).to(torch.uint8).reshape(n, 1, 2, 3)
    given = {"images": pixels, "labels": torch.arange(n) % 3, "classes": ("a", "b", "c"), "name": "toy"}
    return Images(**(given | changes))


def test_pixels_are_floats_in_the_unit_interval():
    images = split()
    assert images.x.dtype == torch.float32
    assert torch.equal(images.x, images.images / 255)
    assert images.x.max() == 1
    same = split(images=images.x)
    assert torch.equal(same.x, images.x)
    assert torch.equal(images.y, images.labels)


def test_an_item_a_batch_and_the_whole_agree():
    images = split()
    assert (len(images), images.shape, images.num_classes) == (50, (1, 2, 3), 3)
    x, y = images.batch([3, 1, 3])
    assert torch.equal(x, images.x[[3, 1, 3]])
    assert y.tolist() == [0, 1, 0]
    assert torch.equal(images.batch(torch.tensor([4]))[0], images.batch(slice(4, 5))[0])
    image, label = images[7]
    assert torch.equal(image, images.x[7])
    assert label == 1
    assert type(label) is int


@pytest.mark.parametrize("size", [1, 7, 50, 99])
def test_batches_cover_every_image_once_in_order(size):
    images = split()
    x, y = (torch.cat(parts) for parts in zip(*images.batches(size), strict=True))
    assert torch.equal(x, images.x)
    assert torch.equal(y, images.y)


def test_it_is_what_a_torch_loader_takes():
    images = split()
    x, y = next(iter(DataLoader(images, batch_size=8)))
    assert torch.equal(x, images.x[:8])
    assert torch.equal(y, images.y[:8])
    assert len(list(images)) == 50


def test_a_draw_is_seeded_ordered_nested_and_private():
    images = split()
    before = torch.random.get_rng_state()
    large, again, other = images.sample(30, seed=1), images.sample(30, seed=1), images.sample(30, seed=2)
    assert torch.equal(torch.random.get_rng_state(), before)
    torch.rand(5)
    assert torch.equal(images.sample(30, seed=1).indices, large.indices)
    assert torch.equal(large.indices, again.indices)
    assert not torch.equal(large.indices, other.indices)
    assert (large.indices.diff() > 0).all()
    assert set(images.sample(10, seed=1).indices.tolist()) < set(large.indices.tolist())
    assert torch.equal(large.images, images.images[large.indices])
    assert torch.equal(large.labels, images.labels[large.indices])


def test_a_draw_from_a_draw_remembers_the_original_positions():
    images = split()
    drawn = images.sample(30, seed=1).sample(5, seed=2)
    assert torch.equal(drawn.images, images.images[drawn.indices])


@pytest.mark.parametrize(("val", "n"), [(0.2, 10), (10, 10), (1, 1), (49, 49)])
def test_a_split_parts_the_images(val, n):
    images = split()
    before = torch.random.get_rng_state()
    kept, out = images.split(val, seed=3)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert (len(kept), len(out)) == (50 - n, n)
    assert sorted([*kept.indices.tolist(), *out.indices.tolist()]) == list(range(50))
    assert torch.equal(out.images, images.images[out.indices])
    assert (kept.indices.diff() > 0).all()


def test_a_split_is_seeded():
    first, second, third = (split().split(0.5, seed=seed)[1].indices for seed in (0, 0, 1))
    assert torch.equal(first, second)
    assert not torch.equal(first, third)


NOT_FINITE = split().x.index_fill(0, torch.tensor([4]), float("nan"))


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"images": split().x * 255}, r"in \[0, 1\] in toy, got a maximum of 255.0: divide by 255"),
        ({"images": split().x - 0.5}, r"in \[0, 1\] in toy, got a minimum of -0.5: undo the normalisation"),
        ({"images": NOT_FINITE}, "finite pixels in toy, got NaN or infinity"),
        ({"images": split().x.double()}, "uint8 or float32 in toy, got torch.float64"),
        ({"images": split().images.long()}, "uint8 or float32 in toy, got torch.int64"),
        ({"images": split().images[:, 0]}, r"\(N, C, H, W\) in toy, got \(50, 2, 3\)"),
        ({"images": split().images[:0], "labels": torch.arange(0)}, r"at least one image in toy, got shape \(0, 1, 2"),
        ({"labels": torch.arange(49) % 3}, r"50 labels of shape \(50,\) in toy, got shape \(49,\)"),
        ({"labels": torch.zeros(50, 1, dtype=torch.int64)}, r"50 labels of shape \(50,\) in toy, got shape \(50, 1\)"),
        ({"labels": torch.zeros(50)}, "labels of int64 in toy, got torch.float32"),
        ({"labels": torch.arange(50)}, r"labels in \[0, 3\) in toy, got 49"),
        ({"labels": torch.arange(50) % 3 - 1}, r"labels in \[0, 3\) in toy, got -1"),
        ({"classes": ("a",), "labels": torch.zeros(50, dtype=torch.int64)}, r"at least 2 classes in toy, got 1 \(a\)"),
        ({"classes": ("a", "b", "a")}, "different class names in toy, got a twice"),
        ({"indices": torch.arange(9)}, r"50 indices for toy, got shape \(9,\)"),
    ],
)
def test_a_defective_split_is_refused(changes, expected):
    with pytest.raises(InputError, match=expected):
        split(**changes)


@pytest.mark.parametrize(
    ("draw", "expected"),
    [
        (lambda images: images.sample(51, seed=0), "sample of 1 to 50 images of toy, got 51"),
        (lambda images: images.sample(0, seed=0), "sample of 1 to 50 images of toy, got 0"),
        (lambda images: images.split(50, seed=0), "from 1 to 49 to hold out of toy, got 50"),
        (lambda images: images.split(0.001, seed=0), "from 1 to 49 to hold out of toy, got 0.001"),
        (lambda images: images.split(1.5, seed=0), "from 1 to 49 to hold out of toy, got 1.5"),
        (lambda images: images.split(float("nan"), seed=0), "from 1 to 49 to hold out of toy, got nan"),
        (lambda images: images.batches(0), "a batch of at least 1 image, got 0"),
    ],
)
def test_an_impossible_draw_is_refused(draw, expected):
    with pytest.raises(InputError, match=expected):
        draw(split())
