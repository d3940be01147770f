"""The code gives back what was put in, and takes less room than the pixels."""

import numpy as np
import pytest

from steelman.data.codec import BITS, CONTEXTS, contexts_of, decode, encode


def smooth(n, height, width, seed=0):
    walk = np.random.default_rng(seed).integers(-9, 10, (n, height, width)).cumsum(1).cumsum(2)
    return np.clip(walk + 100, 0, 255).astype(np.uint8)


IMAGES = {
    "smooth": smooth(12, 6, 5),
    "noise": np.random.default_rng(1).integers(0, 256, (12, 6, 5), np.uint8),
    "black": np.zeros((12, 6, 5), np.uint8),
    "white": np.full((12, 6, 5), 255, np.uint8),
    "one column": smooth(12, 7, 1),
    "one row": smooth(12, 1, 7),
}


@pytest.mark.parametrize("lanes", [1, 3, 12])
@pytest.mark.parametrize("kind", IMAGES)
def test_round_trip(kind, lanes):
    images = IMAGES[kind]
    coded = encode(images, lanes, tables=4)
    found = decode(coded, *images.shape[1:], rounds=len(images) // lanes)
    assert np.array_equal(found, images)
    assert (coded.frequencies.astype(int).sum(1) == 1 << BITS).all()


def test_smooth_images_shrink():
    images = smooth(200, 20, 20)
    assert encode(images, 100, tables=64).words.nbytes < 0.8 * images.nbytes


def test_contexts_are_in_range_and_never_look_ahead():
    images = IMAGES["noise"]
    contexts = contexts_of(images)
    assert contexts.max() < CONTEXTS
    later = images.copy()
    later[:, 3, 2] ^= 255
    changed = contexts_of(later) != contexts
    assert not changed[:3].any()
    assert not changed[3, :3].any()
    assert changed[3, 3].any()
    assert changed[4, 1:4].any(axis=1).all()


def test_lanes_must_divide_the_images():
    with pytest.raises(ValueError, match="reshape"):
        encode(IMAGES["smooth"], lanes=5)


def test_a_short_stream_is_no_endless_loop():
    coded = encode(IMAGES["noise"], 3, tables=4)
    with pytest.raises((IndexError, ValueError)):
        decode(coded._replace(words=coded.words[:5]), 6, 5, rounds=4)
