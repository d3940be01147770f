"""Feature maps in records, on the page and as PNG."""

import base64
import json
import re
import subprocess
import sys
from io import BytesIO

import numpy as np
import pytest
from matplotlib import colormaps
from PIL import Image

from steelman.errors import InputError
from steelman.records import Evaluation, Features, Layer, read
from steelman.report import to_html
from steelman.report.curves import charts
from steelman.report.feature_maps import noises, plates, sheet

BYTES = np.random.default_rng(0)


def layer(name, side, noise=0.5):
    maps = BYTES.integers(0, 256, (2, 2, side, side)).astype(np.uint8)
    return Layer(name=name, noise=noise, ci_low=noise - 0.1, ci_high=noise + 0.1, channels=(3, 0), maps=maps)


def features(*layers, **changes):
    plain = {
        "dataset": "mnist",
        "classifier": "net",
        "defence": "none",
        "attack": "pgd",
        "eps": 0.3,
        "n": 200,
        "indices": (4, 9),
        "labels": ("7", "<b>"),
        "readings": ((("7", 0.9), ("2", 0.8)), (("<b>", 0.7), ("<b>", 0.6))),
        "images": BYTES.integers(0, 256, (2, 2, 28, 28, 1)).astype(np.uint8),
        "layers": layers or (layer("stage 1", 14), layer("stage 2", 7, 0.75)),
    }
    return Features(**(plain | changes))


def evaluation(*found):
    return Evaluation(title="A run", rows=(), features=found, settings={}, versions={})


def decoded(uri):
    return np.asarray(Image.open(BytesIO(base64.b64decode(uri.partition(",")[2]))))


def test_records_are_read_as_they_were_written(tmp_path):
    written = evaluation(features(), features(layer("other", 3), defence="PGD training"))
    written.write(tmp_path)
    found = read(tmp_path)
    assert json.loads((tmp_path / "results.json").read_text())["features"][0]["layers"][0].keys() == {
        "name",
        "noise",
        "ci_low",
        "ci_high",
        "channels",
    }
    for before, after in zip(written.features, found.features, strict=True):
        assert np.array_equal(before.images, after.images)
        assert (before.readings, before.labels, before.indices) == (after.readings, after.labels, after.indices)
        for one, other in zip(before.layers, after.layers, strict=True):
            assert np.array_equal(one.maps, other.maps)
            assert (one.name, one.noise, one.channels) == (other.name, other.noise, other.channels)


def test_a_run_without_its_maps_is_refused(tmp_path):
    evaluation(features()).write(tmp_path)
    (tmp_path / "features.npz").unlink()
    with pytest.raises(InputError, match="results of a run"):
        read(tmp_path)


def test_a_run_without_features_says_nothing_of_them(tmp_path):
    evaluation().write(tmp_path)
    assert "features" not in json.loads((tmp_path / "results.json").read_text())
    assert read(tmp_path).features == ()
    assert 'id="features"' not in to_html(evaluation())


def test_a_plate_has_a_line_of_tiles_for_each_state_in_the_colours_of_its_map():
    record = features()
    (plate,) = plates([record])
    assert plate.heads == (("image", ""), ("stage 1", "noise 0.50"), ("stage 2", "noise 0.75"))
    first, second = plate.pairs
    assert [tile.wrong for tile in first.clean] == [False, None, None]
    assert [tile.wrong for tile in first.adversarial] == [True, None, None]
    assert second.adversarial[0].wrong is False
    expected = np.rint(255 * colormaps["viridis"](record.layers[1].maps[1, 0])[..., :3])
    assert np.array_equal(decoded(second.clean[2].uri), expected)
    assert np.array_equal(decoded(first.adversarial[0].uri)[..., 0], record.images[0, 1, :, :, 0])
    assert second.clean[2].below == "channel 0"


def test_noise_stands_network_by_network_and_is_missing_where_there_is_no_such_layer():
    several = layer("stage 1", 14, 0.4), layer("stage 1, denoised", 14, 0.2), layer("stage 2", 7, 0.3)
    plain = layer("stage 1", 14, 0.6), layer("stage 2", 7, 0.5)
    (table,) = noises([features(*plain), features(*several, defence="denoised")])
    assert table.headers == ("Layer", "no defence", "denoised")
    assert table.rows == (
        ("stage 1", "0.600 [0.500, 0.700]", "0.400 [0.300, 0.500]"),
        ("stage 1, denoised", "–", "0.200 [0.100, 0.300]"),
        ("stage 2", "0.500 [0.400, 0.600]", "0.300 [0.200, 0.400]"),
    )
    assert "200 images" in table.caption
    assert len(noises([features(), features(eps=0.1)])) == 2


def test_the_page_shows_them_escaped_with_words_for_every_image():
    drawn = evaluation(features())
    page = to_html(drawn)
    assert page == to_html(drawn)
    section = page[page.index('id="features"') : page.index('id="meaning"')]
    assert section.count("<img") == 2 * 2 * 3
    assert len(re.findall(r'alt="[^"]+"', section)) == 12
    assert "<b>" not in section
    assert "Feature noise · MNIST, PGD at ε 0.30" in section
    assert 'href="#features"' in page


@pytest.mark.parametrize("channels", [1, 3])
def test_the_sheet_has_two_lines_an_image(channels):
    record = features(images=BYTES.integers(0, 256, (2, 2, 28, 28, channels)).astype(np.uint8))
    picture = np.asarray(Image.open(BytesIO(sheet(record))))
    assert picture.shape == (4 * 84 + 3 * 2, 3 * 84 + 2 * 2, 3)
    low, clean = picture[:84, 86:170], np.rint(255 * colormaps["viridis"](record.layers[0].maps[0, 0])[..., :3])
    assert np.array_equal(low[::6, ::6], clean)


def test_it_is_drawn_without_torch():
    code = "import sys, steelman.report.feature_maps; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_curves_of_two_norms_are_two_charts(row):
    rows = [row(eps=eps, norm=norm, protocol="adaptive") for norm in ("Linf", "L2") for eps in (0.1, 0.2)]
    drawn = charts(Evaluation(title="A run", rows=tuple(rows), settings={}, versions={}))
    assert [chart.title for chart in drawn] == ["MNIST, PGD, adaptive", "MNIST, PGD (L2), adaptive"]
    assert all(len(chart.series[0].points) == 2 for chart in drawn)
