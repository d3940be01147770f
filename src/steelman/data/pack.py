"""Packs the raw IDX files of a data set that ships: `python -m steelman.data.pack IDX_FOLDER NAME`.

IDX_FOLDER holds the four files as they are published (`train-images-idx3-ubyte.gz` and so on), NAME is one of the data
sets that ship. The same files give the same bytes with the same numpy; what is packed is decoded again and compared
before anything is written.
"""

from __future__ import annotations

import argparse
import gzip
from pathlib import Path
from typing import Any

import numpy as np

from steelman.data.codec import Bytes, decode, encode
from steelman.data.shipped import LANES, SHIPPED, SIDE, STREAMS, idx_digest
from steelman.errors import InputError, unknown

FILES = ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1")


def read_idx(path: Path) -> Bytes:
    """Returns the array of a gzipped IDX file of unsigned bytes, in the shape its header tells."""
    raw = gzip.decompress(path.read_bytes())
    rank = raw[3]
    shape = np.frombuffer(raw, ">u4", rank, offset=4)
    return np.frombuffer(raw, np.uint8, offset=4 + 4 * rank).reshape(tuple(int(n) for n in shape))


def pack(folder: Path, name: str, out: Path) -> int:
    """Writes the four IDX files in `folder` to `out` in shipped form and returns its size in bytes.

    Raises InputError where a file is not the published one, by SHA-256, and for an unknown name.
    """
    if name not in SHIPPED:
        raise unknown("data set", name, SHIPPED)
    arrays = [read_idx(folder / f"{file}-ubyte.gz") for file in FILES]
    for array, file, expected in zip(arrays, FILES, SHIPPED[name].sha256, strict=True):
        if (got := idx_digest(array)) != expected:
            raise InputError(f"expected SHA-256 {expected} for {file}, got {got}: fetch the published file again")
    images = np.concatenate(arrays[::2])
    streams: dict[str, Any] = {}
    for i, half in enumerate(np.split(images, STREAMS)):
        coded = encode(half, LANES)
        if not np.array_equal(decode(coded, SIDE, SIDE, len(half) // LANES), half):
            raise AssertionError("the code does not give the images back")
        streams |= {f"{field}{i}": array for field, array in coded._asdict().items()}
    np.savez_compressed(out, labels=np.concatenate(arrays[1::2]), **streams)
    return out.stat().st_size


def main() -> None:
    """Packs one data set into the package."""
    parser = argparse.ArgumentParser(prog="python -m steelman.data.pack", description=__doc__)
    parser.add_argument("folder", type=Path, help="the four gzipped IDX files")
    parser.add_argument("name", help=f"one of {', '.join(SHIPPED)}")
    given = parser.parse_args()
    pack(given.folder, given.name, SHIPPED[given.name].path)


if __name__ == "__main__":
    main()
