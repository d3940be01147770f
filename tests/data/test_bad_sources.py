"""Every defective source is one clear error that names what was expected and what came."""

import pickle

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import IterableDataset, TensorDataset

from steelman import data
from steelman.errors import InputError

GREY = np.arange(6 * 5 * 4, dtype=np.uint8).reshape(6, 5, 4)
UNIT = (GREY / 255).astype(np.float32)
LABELS = np.array([0, 1, 2, 0, 1, 2])


def folder(path, **more):
    """A sound folder of two classes, plus what `more` says: class -> function that writes into it."""
    for kind in ("ant", "bee"):
        (path / kind).mkdir(parents=True)
        Image.fromarray(GREY[0]).save(path / kind / "0.png")
    for kind, write in more.items():
        (path / kind).mkdir(exist_ok=True)
        write(path / kind)
    return path


def npz(path, images=GREY, labels=LABELS, **more):
    np.savez(path / "own.npz", images=images, labels=labels, **more)
    return path / "own.npz"


def cut(path, share=0.5):
    raw = path.read_bytes()
    path.write_bytes(raw[: int(len(raw) * share)])
    return path


def noisy_png(place):
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64), np.uint8)).save(place / "1.png")
    cut(place / "1.png")


def wide_png(place):
    Image.fromarray(np.zeros((5, 4), np.uint16)).save(place / "1.png")


def other_class(path):
    folder(path / "train")
    folder(path / "test", cow=lambda place: Image.fromarray(GREY[0]).save(place / "0.png"))
    return path


def one_class(path):
    (path / "ant").mkdir()
    Image.fromarray(GREY[0]).save(path / "ant" / "0.png")
    return path


def pickled(path):
    (path / "own.npz").write_bytes(pickle.dumps({"images": 1}))
    return path / "own.npz"


def cifar(path, **files):
    for name, content in files.items():
        (path / f"{name}.bin").write_bytes(content)
    return path


def touch(path, name):
    (path / name).write_bytes(b"no image at all")
    return path / name


def pair(images=UNIT, labels=LABELS):
    return torch.as_tensor(images), torch.as_tensor(labels)


class Endless(IterableDataset):
    def __iter__(self):
        return iter([])


class Items(torch.utils.data.Dataset):
    def __init__(self, *items):
        self.items = items

    def __len__(self):
        return len(self.items)

    def __getitem__(self, i):
        return self.items[i]


RECORD = bytes(3073)
WRONG = bytes([10]) + bytes(3072)
X = torch.zeros(1, 2, 2)
NAN = np.where(GREY == 7, np.nan, 0.5)

DEFECTS = {
    "name": (lambda p: "mnits", {}, r"name of a data set, got 'mnits': did you mean mnist"),
    "path": (lambda p: p / "none", {}, r"a folder of images or an .npz file, got .*none, which does not exist"),
    "path with suffix": (lambda p: str(p / "a.npz"), {}, r"got .*a.npz, which does not exist"),
    "file": (lambda p: touch(p, "a.csv"), {}, r"a folder of images or an .npz file, got the file .*a.csv"),
    "kind of source": (lambda p: 7, {}, "a name, a path, a pair of tensors or a torch Dataset, got int"),
    "channels": (lambda p: folder(p), {"channels": 2}, "1 or 3 channels, got 2"),
    "size": (lambda p: folder(p), {"size": (0, 5)}, r"a size of two positive integers, got \(0, 5\)"),
    "empty folder": (lambda p: p, {}, "one sub-folder of images for each class in .*, got none"),
    "empty class": (lambda p: folder(p, cow=lambda q: None), {}, "images in .*cow, got an empty class"),
    "one class": (one_class, {}, "at least 2 classes in .*, got the one sub-folder ant"),
    "not an image": (lambda p: folder(p, bee=lambda q: touch(q, "1.txt")), {}, "only images .* in .*bee, got 1.txt"),
    "false image": (lambda p: folder(p, bee=lambda q: touch(q, "1.png")), {}, "a whole PNG.*, got .*1.png.* read"),
    "truncated png": (lambda p: folder(p, bee=noisy_png), {}, "a whole PNG.*, got .*1.png, which cannot be read"),
    "16 bits": (lambda p: folder(p, bee=wide_png), {}, "8 bits a channel, got mode I;16 in .*1.png"),
    "nested": (lambda p: folder(p, bee=lambda q: (q / "sub").mkdir()), {}, "only images .* in .*bee, got sub"),
    "mixed channels": (
        lambda p: folder(p, bee=lambda q: Image.new("RGB", (4, 5)).save(q / "1.png")),
        {},
        "grey or all in colour, got grey in .*0.png and colour in .*1.png: say channels=1 or channels=3",
    ),
    "mixed sizes": (
        lambda p: folder(p, bee=lambda q: Image.new("L", (9, 8)).save(q / "1.png")),
        {},
        r"one size, got 5x4 in .*0.png and 8x9 in .*1.png: say size=\(H, W\)",
    ),
    "classes of a folder": (lambda p: folder(p), {"classes": ["ant", "cat"]}, "classes ant, cat in .*, got ant, bee"),
    "classes of splits": (other_class, {}, "same classes under train and test in .*, got cow in one only"),
    "truncated npz": (lambda p: cut(npz(p)), {}, "an .npz file with .*, got .*own.npz, which cannot be read"),
    "empty npz": (lambda p: cut(npz(p), 0), {}, "an .npz file with .*, got .*own.npz, which cannot be read"),
    "pickle for npz": (pickled, {}, "an .npz file with .*, got .*own.npz, which cannot be read"),
    "pickle in npz": (lambda p: npz(p, np.array([{}, 1], object)), {}, "plain arrays .*, got pickled objects"),
    "integers": (lambda p: npz(p, GREY.astype(np.int32)), {}, "uint8 or floats in .*, got int32"),
    "0..255 floats": (lambda p: npz(p, GREY.astype(np.float32)), {}, r"in \[0, 1\] in own.npz, got a maximum of 119"),
    "negative": (lambda p: npz(p, GREY / 255 - 1), {}, r"in \[0, 1\] in own.npz, got a minimum of -1"),
    "NaN": (lambda p: npz(p, NAN), {}, "finite pixels in own.npz, got NaN or infinity"),
    "infinite": (lambda p: npz(p, NAN * 0 + np.inf), {}, "finite pixels in own.npz, got NaN or infinity"),
    "rank": (lambda p: npz(p, GREY[0]), {}, r"\(N, H, W\).* in .*own.npz, got \(5, 4\)"),
    "five channels": (lambda p: npz(p, np.zeros((6, 5, 4, 5), np.uint8)), {}, r"1 or 3 channels.*got \(6, 5, 4, 5\)"),
    "float labels": (lambda p: npz(p, labels=LABELS / 2), {}, "integer labels in .*own.npz, got float64"),
    "few labels": (lambda p: npz(p, labels=LABELS[:4]), {}, r"6 labels of shape \(6,\) in own.npz, got shape \(4,\)"),
    "negative label": (lambda p: npz(p, labels=LABELS - 1), {}, r"labels in \[0, 2\) in own.npz, got -1"),
    "large label": (lambda p: npz(p), {"classes": ["a", "b"]}, r"labels in \[0, 2\) in own.npz, got 2"),
    "huge label": (lambda p: npz(p, labels=LABELS * 10**12), {}, "below 100000 in own.npz, .*, got 2000000000000"),
    "one label": (lambda p: npz(p, labels=LABELS * 0), {}, r"at least 2 classes in own.npz, got 1 \(0\)"),
    "no images": (lambda p: npz(p, GREY[:0], LABELS[:0]), {}, r"at least one image in own.npz, got shape \(0, 1, 5"),
    "resized npz": (lambda p: npz(p), {"size": (8, 8)}, "images of 8x8 in own.npz, got 5x4: only a folder's"),
    "triple": (lambda p: (*pair(), 1), {}, r"pair of tensors \(images, labels\), got \(Tensor, Tensor, int\)"),
    "arrays": (lambda p: (GREY, LABELS), {}, r"pair of tensors \(images, labels\), got \(ndarray, ndarray\)"),
    "tensor rank": (lambda p: pair(GREY[0]), {}, r"\(N, C, H, W\) in tensors, got \(5, 4\)"),
    "tensor type": (lambda p: pair(GREY.astype(np.int64)), {}, "uint8 or float32 in tensors, got torch.int64"),
    "tensor labels": (lambda p: pair(labels=LABELS > 0), {}, "integer labels in tensors, got torch.bool"),
    "channels of tensors": (lambda p: pair(np.zeros((6, 2, 5, 4), np.uint8)), {"channels": 3}, "in tensors, got 2"),
    "no length": (lambda p: Endless(), {}, "a data set with a length, got Endless"),
    "empty data set": (lambda p: Items(), {}, "at least one image in Items, got an empty data set"),
    "no pairs": (lambda p: Items(X, X), {}, r"\(image, label\) from Items, got Tensor at index 0"),
    "no tensors": (lambda p: Items((GREY[0], 0)), {}, "image tensors from Items, got ndarray at index 0"),
    "word labels": (lambda p: Items((X, 0), (X, "cat")), {}, "integer labels from Items, got 'cat' at index 1"),
    "shapes": (lambda p: Items((X, 0), (X[..., :1], 1)), {}, r"shape \(1, 2, 2\), got .* \(1, 2, 1\) at index 1"),
    "range": (lambda p: TensorDataset(*pair(GREY * 1.0)), {}, r"in \[0, 1\] in TensorDataset, got a maximum of 119"),
    "truncated batch": (lambda p: cifar(p, test_batch=RECORD[:-1]), {}, "records of 3073 bytes in .*, got 3072 bytes"),
    "empty batch": (lambda p: cifar(p, test_batch=b""), {}, "records of 3073 bytes in .*, got 0 bytes"),
    "label of a batch": (lambda p: cifar(p, test_batch=WRONG), {}, r"labels in \[0, 10\) in .*test_batch.bin, got 10"),
    "missing batch": (
        lambda p: cifar(p, test_batch=RECORD, data_batch_1=RECORD, data_batch_3=RECORD),
        {},
        "batches of CIFAR-10 in .*, got none of data_batch_2.bin, data_batch_4.bin, data_batch_5.bin",
    ),
    "pickled batch": (lambda p: touch(p, "test_batch").parent, {}, "CIFAR-10 in .*, got the pickled form"),
    "names of batches": (
        lambda p: touch(cifar(p, test_batch=RECORD), "batches.meta.txt").parent,
        {},
        "10 class names in .*meta.txt, got 4",
    ),
}


@pytest.mark.parametrize("defect", DEFECTS)
def test_a_defective_source_is_one_clear_error(tmp_path, defect):
    source, options, expected = DEFECTS[defect]
    made = source(tmp_path)
    with pytest.raises(InputError, match=f"expected .*{expected}") as caught:
        data.load(made, **options)
    assert "\n" not in str(caught.value)
    assert ": " in str(caught.value)


def test_an_npz_without_the_arrays_names_those_it_has(tmp_path):
    np.savez(tmp_path / "own.npz", x=GREY, y=LABELS)
    with pytest.raises(InputError, match=r"expected arrays `images` and `labels` in .*own.npz, got x, y: save them"):
        data.load(tmp_path / "own.npz")


def test_nothing_in_an_npz_is_unpickled(tmp_path):
    class Trap:
        def __reduce__(self):
            return (tmp_path.joinpath("sprung").touch, ())

    np.savez(tmp_path / "own.npz", images=GREY, labels=np.array([Trap()], object))
    with pytest.raises(InputError, match="pickled objects, which could run any code"):
        data.load(tmp_path / "own.npz")
    assert not (tmp_path / "sprung").exists()


def test_a_check_refuses_what_a_load_refuses():
    with pytest.raises(InputError, match="did you mean fashion-mnist"):
        data.check("fashion")
