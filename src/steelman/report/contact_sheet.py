"""A contact sheet: images in a grid, as one PNG to look at."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from steelman.records import Picture
from steelman.report.gallery import amplified

_GAP = 4
_SIDE = 84


def sheet(rows: Sequence[Sequence[NDArray[np.uint8]]]) -> bytes:
    """Returns a PNG of images in rows, small ones enlarged by a whole factor so that pixels stay square.

    rows: as many images in each, all (H, W, C) of one shape, uint8, C 1 or 3.
    """
    height, width, channels = rows[0][0].shape
    factor = max(1, _SIDE // max(height, width))
    high, wide = height * factor + _GAP, width * factor + _GAP
    page = np.full((len(rows) * high + _GAP, len(rows[0]) * wide + _GAP, channels), 255, np.uint8)
    for i, row in enumerate(rows):
        for j, image in enumerate(row):
            large = image.repeat(factor, axis=0).repeat(factor, axis=1)
            top, left = _GAP + i * high, _GAP + j * wide
            page[top : top + large.shape[0], left : left + large.shape[1]] = large
    content = BytesIO()
    Image.fromarray(page[..., 0] if channels == 1 else page).save(content, format="PNG", optimize=True)
    return content.getvalue()


def attacked(clean: NDArray[np.uint8], adversarial: NDArray[np.uint8]) -> bytes:
    """Returns a sheet of clean images, what was added (amplified) and adversarial ones, below each other.

    clean, adversarial: (N, H, W, C), uint8.
    """
    added = [amplified(before, after)[0] for before, after in zip(clean, adversarial, strict=True)]
    return sheet([list(clean), added, list(adversarial)])


def journey(pictures: Sequence[Picture]) -> bytes:
    """Returns a sheet of pictures side by side: clean, adversarial and purified below each other."""
    return sheet([[picture.images[stage] for picture in pictures] for stage in range(3)])
