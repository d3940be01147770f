"""Packing reads published IDX files and refuses any other."""

import gzip

import numpy as np
import pytest

from steelman.data.pack import FILES, pack, read_idx
from steelman.errors import InputError


def write(path, array):
    header = np.array([0x800 + array.ndim, *array.shape], ">u4").tobytes()
    path.write_bytes(gzip.compress(header + array.tobytes()))


def test_an_idx_file_is_read_in_its_shape(tmp_path):
    array = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    write(tmp_path / "a.gz", array)
    assert np.array_equal(read_idx(tmp_path / "a.gz"), array)


def test_another_file_than_the_published_one_is_refused(tmp_path):
    for file in FILES:
        write(tmp_path / f"{file}-ubyte.gz", np.zeros((2, 28, 28), np.uint8))
    with pytest.raises(InputError, match=r"expected SHA-256 \w+ for train-images-idx3, got \w+: fetch"):
        pack(tmp_path, "mnist", tmp_path / "out.npz")
    assert not (tmp_path / "out.npz").exists()


def test_an_unknown_name_is_refused(tmp_path):
    with pytest.raises(InputError, match="did you mean mnist"):
        pack(tmp_path, "mnits", tmp_path / "out.npz")
