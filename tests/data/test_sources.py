"""Every kind of source gives the images and labels that were put into it."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import TensorDataset

from steelman import data

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (6, 5, 4), np.uint8)
COLOUR = RNG.integers(0, 256, (6, 5, 4, 3), np.uint8)
LABELS = np.array([0, 1, 2, 0, 1, 2])


def fill(folder, images, labels=LABELS, classes=("ant", "bee", "cat"), suffix="png"):
    for i, (image, label) in enumerate(zip(images, labels, strict=True)):
        place = folder / classes[label]
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(place / f"{i}.{suffix}", lossless=True)
    return folder


def first_channels(colour):
    return torch.from_numpy(colour.transpose(0, 3, 1, 2).copy())


BY_CLASS = [0, 3, 1, 4, 2, 5]


@pytest.mark.parametrize("suffix", ["png", "bmp", "webp"])
def test_a_folder_of_colour(tmp_path, suffix):
    found = data.load(fill(tmp_path / "pets", COLOUR, suffix=suffix))
    assert (found.name, found.train) == ("pets", None)
    assert found.test.classes == ("ant", "bee", "cat")
    assert torch.equal(found.test.images, first_channels(COLOUR)[BY_CLASS])
    assert found.test.labels.tolist() == [0, 0, 1, 1, 2, 2]


def test_a_folder_of_jpeg_is_near(tmp_path):
    smooth = np.repeat(np.arange(6, dtype=np.uint8)[:, None, None] * 40, 8, 1).repeat(8, 2)
    found = data.load(str(fill(tmp_path, smooth, suffix="jpg")))
    expected = torch.from_numpy(smooth)[BY_CLASS].unsqueeze(1)
    assert (found.test.images.int() - expected.int()).abs().max() <= 2


def test_a_folder_of_grey_and_its_conversions(tmp_path):
    fill(tmp_path, GREY)
    grey = torch.from_numpy(GREY)[BY_CLASS].unsqueeze(1)
    assert torch.equal(data.load(tmp_path).test.images, grey)
    assert torch.equal(data.load(tmp_path, channels=3).test.images, grey.expand(-1, 3, -1, -1))
    assert data.load(tmp_path, size=(7, 9)).test.shape == (1, 7, 9)


def test_a_mixed_folder_loads_once_the_channels_are_said(tmp_path):
    fill(tmp_path, GREY[:3], LABELS[:3])
    Image.fromarray(COLOUR[0]).save(tmp_path / "ant" / "9.png")
    assert data.load(tmp_path, channels=1).test.shape == (1, 5, 4)
    assert data.load(tmp_path, channels=3).test.shape == (3, 5, 4)


def test_a_folder_of_two_splits_in_an_order_of_classes(tmp_path):
    fill(tmp_path / "train", GREY)
    fill(tmp_path / "test", GREY[:3], LABELS[:3])
    (tmp_path / "test" / "ant" / ".DS_Store").write_text("hidden")
    (tmp_path / "README.txt").write_text("beside the splits")
    found = data.load(tmp_path, classes=["cat", "ant", "bee"])
    assert (len(found.train), len(found.test)) == (6, 3)
    assert found.test.classes == ("cat", "ant", "bee")
    assert torch.equal(found.test.images, torch.from_numpy(GREY[[2, 0, 1]]).unsqueeze(1))
    assert found.test.labels.tolist() == [0, 1, 2]


def test_a_folder_with_a_test_split_alone(tmp_path):
    fill(tmp_path / "test", GREY)
    assert data.load(tmp_path).train is None


ARRAYS = {
    "NHW": (GREY, torch.from_numpy(GREY).unsqueeze(1)),
    "NHWC": (COLOUR, first_channels(COLOUR)),
    "NCHW": (COLOUR.transpose(0, 3, 1, 2), first_channels(COLOUR)),
    "float64": (GREY / 255, (torch.from_numpy(GREY) / 255).unsqueeze(1)),
    "float16": ((GREY > 99).astype(np.float16), torch.from_numpy(GREY > 99).float().unsqueeze(1)),
}


@pytest.mark.parametrize("kind", ARRAYS)
def test_an_npz(tmp_path, kind):
    images, expected = ARRAYS[kind]
    np.savez(tmp_path / "own.npz", images=images, labels=LABELS.astype(np.uint8))
    found = data.load(tmp_path / "own.npz")
    assert found.name == "own"
    assert torch.allclose(found.test.images, expected, atol=1e-7, rtol=0)
    assert found.test.images.dtype == expected.dtype
    assert found.test.labels.tolist() == LABELS.tolist()
    assert found.test.classes == ("0", "1", "2")


def test_an_npz_names_its_classes_unless_told_otherwise(tmp_path):
    np.savez_compressed(tmp_path / "own.npz", images=GREY, labels=LABELS, classes=["x", "y", "z", "w"])
    assert data.load(tmp_path / "own.npz").test.classes == ("x", "y", "z", "w")
    assert data.load(tmp_path / "own.npz", classes=["p", "q", "r"]).test.classes == ("p", "q", "r")


def batch(n, seed):
    return np.random.default_rng(seed).integers(0, 10, (n, 3073), np.uint8)


def test_cifar10(tmp_path):
    for i in range(1, 6):
        batch(4, i).tofile(tmp_path / f"data_batch_{i}.bin")
    batch(3, 9).tofile(tmp_path / "test_batch.bin")
    found = data.load(tmp_path)
    assert (len(found.train), len(found.test), found.test.shape) == (20, 3, (3, 32, 32))
    assert found.train.labels.tolist() == [int(k) for i in range(1, 6) for k in batch(4, i)[:, 0]]
    record = batch(4, 2)[1]
    assert found.train.images[5, 2, 31, 30] == record[1 + 2 * 1024 + 31 * 32 + 30]
    assert (found.id, found.test.classes[0]) == ("cifar10", "airplane")
    (tmp_path / "batches.meta.txt").write_text("a\nb\nc\nd\ne\nf\ng\nh\ni\nj\n\n")
    assert data.load(tmp_path).test.classes == tuple("abcdefghij")


def test_cifar10_with_a_test_batch_alone(tmp_path):
    batch(3, 9).tofile(tmp_path / "test_batch.bin")
    assert data.load(tmp_path).train is None


def test_a_pair_of_tensors():
    x = torch.from_numpy(GREY) / 255
    found = data.load((x, torch.from_numpy(LABELS).to(torch.uint8)), classes=["a", "b", "c"])
    assert torch.equal(found.test.x, x.unsqueeze(1))
    assert torch.equal(found.test.y, torch.from_numpy(LABELS))


def test_a_torch_data_set():
    x, y = first_channels(COLOUR) / 255, torch.from_numpy(LABELS)
    dataset = TensorDataset(x, y)
    dataset.classes = ["a", "b", "c"]
    found = data.load(dataset)
    assert (found.name, found.test.classes) == ("TensorDataset", ("a", "b", "c"))
    assert torch.equal(found.test.x, x)
    assert torch.equal(found.test.y, y)
    assert torch.equal(data.load(found).test.x, x)
    assert torch.equal(data.load(found.test).test.x, x)


def test_colour_becomes_the_same_grey_from_a_folder_and_from_an_array(tmp_path):
    folder = data.load(fill(tmp_path, COLOUR), channels=1).test.images
    array = data.load((first_channels(COLOUR), torch.from_numpy(LABELS)), channels=1).test.images[BY_CLASS]
    floats = data.load((first_channels(COLOUR) / 255, torch.from_numpy(LABELS)), channels=1).test.images[BY_CLASS]
    assert (folder.int() - array.int()).abs().max() <= 1
    assert torch.allclose(floats * 255, array.float(), atol=0.51)


def test_a_check_counts_and_digests(tmp_path):
    np.savez(tmp_path / "own.npz", images=GREY, labels=[0, 1, 1, 1, 3, 3])
    summary = data.check(tmp_path / "own.npz")
    assert (summary.name, summary.shape, summary.classes) == ("own", (1, 5, 4), ("0", "1", "2", "3"))
    (part,) = summary.splits
    assert (part.name, part.n, part.counts, part.bytes, part.dtype) == ("test", 6, (1, 3, 0, 2), GREY.nbytes, "uint8")
    assert summary.bytes == GREY.nbytes
    other = data.check((torch.from_numpy(GREY), torch.tensor([0, 1, 1, 1, 3, 2])))
    assert len(part.sha256) == 64
    assert other.splits[0].sha256 != part.sha256
    same = data.check((torch.from_numpy(GREY), torch.tensor([0, 1, 1, 1, 3, 3])))
    assert same.splits[0].sha256 == part.sha256
