"""A lossless code for many small grey images: interleaved range coding (rANS) under contexts of neighbouring pixels.

Each pixel is coded with the static frequencies of its context: which way its left, upper, upper left, upper right and
second upper neighbours lean. Every lane codes its own images with its own state, so one numpy call moves all
lanes by one pixel; that is what makes an entropy coder fast enough in Python.
Source: Duda 2013 (asymmetric numeral systems), Giesen 2014 (interleaved rANS).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

BITS = 12
"""Frequencies of a context sum to 2 ** BITS."""

CONTEXTS = 16 * 16 * 6 * 6 * 4
"""How many neighbourhoods are told apart, before those that predict alike are merged."""

_LOW = 1 << 16  # a state stays in [2^16, 2^32): one 16-bit word always brings it back
_SLOTS = 1 << BITS

Bytes = NDArray[np.uint8]
Words = NDArray[np.uint32]

_U = np.uint32  # 32 bits throughout: half the memory traffic of numpy's own integers, and twice the speed


def _levels(*edges: int) -> Words:
    return np.searchsorted(np.array(edges), np.arange(256), side="right").astype(np.uint32)


_FINE = _levels(1, 4, 16, 40, 72, 104, 136, 160, 184, 200, 216, 228, 240, 250, 254)
_MIDDLE = _levels(1, 48, 128, 192, 232)
_COARSE = _levels(1, 96, 208)
_LEFT = _FINE * _U(CONTEXTS // 16)


class Coded(NamedTuple):
    """Images in code: `words` is the stream, `states` each lane's first state, the rest is the model."""

    words: NDArray[np.uint16]
    states: NDArray[np.uint32]
    merged: Bytes
    """(CONTEXTS,): the frequency table of each context."""
    frequencies: NDArray[np.uint16]
    """(K, 256): how often each value follows, summing to 2 ** BITS in every row."""


def above(row: Bytes, second: Bytes) -> Words:
    """Returns the part of each pixel's context that the rows above it decide.

    row, second: (W, L), the row above and the one above that; the lanes stand last.
    Returns (W, L) in [0, CONTEXTS / 16).
    """
    middle = _MIDDLE.take(row)
    part: Words = _FINE.take(row) * _U(144) + _COARSE.take(second)
    part[:-1] += middle[1:] * _U(24)
    part[1:] += middle[:-1] * _U(4)
    return part


def decode(coded: Coded, height: int, width: int, rounds: int) -> Bytes:
    """Returns the (rounds * L, height, width) images in a code of L lanes.

    Raises IndexError or ValueError where the stream is too short.  A wrong stream gives wrong images: check a digest.
    """
    lanes = len(coded.states)
    table = _slots(coded.frequencies)
    contexts = coded.merged.astype(np.uint32) << _U(BITS)
    words = coded.words.astype(np.uint32)
    state = coded.states.copy()
    images = np.empty((rounds, lanes, height, width), np.uint8)
    rows = np.zeros((height + 2, width, lanes), np.uint8)
    outside = np.zeros(lanes, np.uint8)
    at = 0
    for turn in range(rounds):
        for i in range(height):
            part = above(rows[i + 1], rows[i])
            left = outside
            for j in range(width):
                slot = contexts.take(part[j] + _LEFT.take(left)) | (state & _U(_SLOTS - 1))
                entry = table.take(slot)
                left = rows[i + 2, j]
                left[:] = entry & _U(255)
                count = ((entry >> _U(8)) & _U(_SLOTS - 1)) + _U(1)
                state = (state >> _U(BITS)) * count + (entry >> _U(8 + BITS))
                short = (state < _U(_LOW)).nonzero()[0]
                if len(short):
                    state[short] = (state[short] << _U(16)) | words[at : at + len(short)]
                    at += len(short)
        images[turn] = rows[2:].transpose(2, 0, 1)
    return images.reshape(rounds * lanes, height, width)


def _slots(frequencies: NDArray[np.uint16]) -> Words:
    """Returns what each slot of each table stands for, in 32 bits: a value, its frequency - 1, the offset in it."""
    f = frequencies.astype(np.int64)
    starts = f.cumsum(1) - f
    tables, values = np.nonzero(f)
    counts = f[tables, values]
    offset = np.tile(np.arange(_SLOTS), len(f)) - np.repeat(starts[tables, values], counts)
    packed = np.repeat(values | (counts - 1) << 8, counts) | offset << (8 + BITS)
    found: Words = packed.astype(np.uint32)
    return found


def encode(images: Bytes, lanes: int, tables: int = 256) -> Coded:
    """Returns the code of (N, H, W) images on N / lanes rounds, with a model of `tables` tables fitted to them.

    Raises ValueError where the lanes do not divide the images.
    """
    _, height, width = images.shape
    turns = images.reshape(-1, lanes, height, width)
    counts = np.zeros((CONTEXTS, 256))
    for turn in turns:
        pairs = contexts_of(turn).astype(np.int64) * 256 + turn.transpose(1, 2, 0)
        counts += np.bincount(pairs.ravel(), minlength=counts.size).reshape(counts.shape)
    merged = _merge(counts, tables)
    totals = np.zeros((tables, 256))
    np.add.at(totals, merged, counts)
    frequencies = _quantised(totals)
    f = frequencies.astype(np.int64)
    starts = f.cumsum(1) - f
    state = np.full(lanes, _LOW, np.int64)
    words: list[NDArray[np.uint16]] = []
    for turn in turns[::-1]:
        values = turn.transpose(1, 2, 0).reshape(-1, lanes)
        table = merged[contexts_of(turn)].reshape(-1, lanes)
        for k in range(len(values) - 1, -1, -1):
            count, start = f[table[k], values[k]], starts[table[k], values[k]]
            full = state >= count << (32 - BITS)
            words.append((state[full] & 0xFFFF).astype(np.uint16))
            state[full] >>= 16
            state = ((state // count) << BITS) + state % count + start
    return Coded(np.concatenate(words[::-1]), state.astype(np.uint32), merged, frequencies)


def contexts_of(images: Bytes) -> Words:
    """Returns the context of each pixel, (H, W, L), for (L, H, W) images."""
    lanes, height, width = images.shape
    rows = np.zeros((height + 2, width, lanes), np.uint8)
    rows[2:] = images.transpose(1, 2, 0)
    found: Words = np.stack([above(rows[i + 1], rows[i]) for i in range(height)])
    found[:, 1:] += _LEFT[rows[2:, :-1]]
    return found


def _merge(counts: NDArray[np.float64], tables: int, sweeps: int = 12) -> Bytes:
    """Returns the table of each context: k-means over their distributions, by the bits each would cost."""
    used = np.flatnonzero(counts.any(1))
    seen = counts[used]
    centres = seen[np.argsort(-seen.sum(1), kind="stable")[:tables]]
    for _ in range(sweeps):
        smooth = centres + 1e-3
        nearest = (seen @ np.log(smooth / smooth.sum(1, keepdims=True)).T).argmax(1)
        centres = np.zeros((tables, 256))
        np.add.at(centres, nearest, seen)
    merged = np.zeros(len(counts), np.uint8)
    merged[used] = nearest
    return merged


def _quantised(totals: NDArray[np.float64]) -> NDArray[np.uint16]:
    """Returns frequencies that sum to 2 ** BITS, none of a value that occurs below 1."""
    scaled = np.zeros(totals.shape, np.int64)
    for row, out in zip(totals, scaled, strict=True):
        if not row.any():
            out[0] = _SLOTS
            continue
        out[row > 0] = np.maximum(1, np.floor(row[row > 0] / row.sum() * _SLOTS))
        while excess := out.sum() - _SLOTS:
            out[out.argmax()] -= excess if excess < out.max() // 2 else out.max() // 2
    return scaled.astype(np.uint16)
