"""ROC, AUC and their intervals, and the table in which attacks seen and unseen stand together."""

import json
import math

import numpy as np
import pytest
import torch
from torch import nn

from steelman.cli import main
from steelman.errors import InputError
from steelman.evaluation.detection import delong, detect, measured
from steelman.records import Evaluation, read
from steelman.report import tables, to_html


class Reads(nn.Module):
    """Reads the first pixel: light is 1."""

    def forward(self, x):
        first = x[:, 0, 0, 0]
        return torch.stack([0.5 - first, first - 0.5], 1)


class Suspects(nn.Module):
    """Suspicious of the second pixel."""

    def score(self, x):
        return x[:, 0, 0, 1]


def scene():
    x = torch.rand(50, 1, 2, 2, generator=torch.Generator().manual_seed(0))
    y = (x[:, 0, 0, 0] > 0.5).long()
    y[:5] = 1 - y[:5]  # read wrong already
    x_adv = x.clone()
    x_adv[:30, 0, 0, 0] = 1 - x[:30, 0, 0, 0]
    x_adv[:, 0, 0, 1] = 0.5 + x[:, 0, 0, 1] / 2
    return x, y, x_adv


def test_only_what_broke_counts_beside_what_was_read_right():
    x, y, x_adv = scene()
    attacked = {"fgsm ε 0.3": x_adv, "ddn": x}
    found = detect({"second": Suspects()}, Reads(), (x, y), attacked, fitted_on="fgsm", seen=("fgsm ε 0.3",))
    first, second = found
    assert (first.positives, first.negatives, first.seen, first.attack) == (25, 45, True, "fgsm ε 0.3")
    pairs = [float(a > b) + 0.5 * float(a == b) for a in x_adv[5:30, 0, 0, 1] for b in x[5:, 0, 0, 1]]
    assert first.auc == pytest.approx(np.mean(pairs))
    assert first.auc_low < first.auc < first.auc_high
    assert (second.positives, second.auc, second.tpr, second.seen) == (0, None, None, False)
    with pytest.raises(InputError, match="one for each clean one"):
        detect({"second": Suspects()}, Reads(), (x, y), {"fgsm": x_adv[:3]})
    with pytest.raises(InputError, match="classifies none"):
        wrong = 1 - (x[:, 0, 0, 0] > 0.5).long()
        detect({"second": Suspects()}, Reads(), (x, wrong), attacked)


def test_delong_is_its_formula_and_covers():
    generator = torch.Generator().manual_seed(0)
    clean, x_adv = torch.randn(40, generator=generator), torch.randn(30, generator=generator) + 1
    psi = (x_adv[:, None] > clean[None]).double()
    area, variance = float(psi.mean()), float(psi.mean(1).var() / 30 + psi.mean(0).var() / 40)
    middle, reach = math.log(area / (1 - area)), 1.959964 * math.sqrt(variance) / (area * (1 - area))
    expected = [1 / (1 + math.exp(-end)) for end in (middle - reach, middle + reach)]
    assert delong(clean, x_adv) == pytest.approx(expected, abs=1e-6)
    true, inside = 0.5 * (1 + math.erf(1 / 2)), 0
    for _ in range(200):
        low, high = delong(torch.randn(60, generator=generator), torch.randn(60, generator=generator) + 1)
        inside += low <= true <= high
    assert 182 <= inside <= 199


def test_a_perfect_detector_has_an_interval_still():
    low, high = delong(torch.zeros(100), torch.ones(50))
    assert high == 1
    assert 0.9 < low < 0.95


def test_found_at_five_percent_is_exact_with_ties():
    clean = torch.cat([torch.zeros(95), torch.ones(5)])
    found = measured(clean, torch.tensor([0.0, 1, 1, 2]))
    assert found["tpr"] == 0.75
    assert found["curve"] == ((0, 0), (0, 0.25), (0.05, 0.75), (1, 1))
    assert measured(torch.ones(100), torch.ones(4))["tpr"] == 0
    with pytest.raises(InputError, match="expected fpr"):
        measured(clean, clean, 1.0)
    with pytest.raises(InputError, match="NaN"):
        measured(clean, torch.tensor([math.nan]))
    many = measured(torch.rand(5000), torch.rand(5000) + 0.2)["curve"]
    assert len(many) <= 210
    assert many[0] == (0, 0)
    assert many[-1] == (1, 1)


def test_records_survive_a_folder_and_show_both_attacks_in_one_table(tmp_path):
    x, y, x_adv = scene()
    attacked = {"fgsm ε 0.3": x_adv, "ddn": x, "pgd ε 0.3": x_adv}
    found = detect({"<b>": Suspects()}, Reads(), (x, y), attacked, fitted_on="fgsm", seen=("fgsm ε 0.3",))
    evaluation = Evaluation(title="t", rows=(), detections=found, settings={}, versions={})
    evaluation.write(tmp_path)
    again = read(tmp_path)
    assert again.detections == found
    areas, rates = tables(again)
    assert areas.headers == ("Detector", "FGSM ε 0.3 (fitted on)", "ddn", "PGD ε 0.3")
    assert areas.rows[-1][1:] == ("25", "0", "25")
    assert "45 clean images" in areas.caption
    assert areas.rows[0][2] == rates.rows[0][2] == "–"
    page = to_html(again)
    assert page.count("<svg") >= 3
    assert "<b>" not in page
    assert "holds no figures" not in page


def test_the_command_fits_measures_and_takes_its_files_again(tmp_path, monkeypatch, capsys, two_kinds):
    monkeypatch.chdir(tmp_path)
    two_kinds(12, 36, 6)
    train = ("train", "classifier", "--data", "own", "--epochs", "2", "--batch-size", "8", "--out", "c.safetensors")
    assert main(list(train)) == 0
    beside = ("--data", "own", "--classifier", "cnn", "--weights", "c.safetensors", "--fitted-eps", "0.3", "0.5")
    fit = ("train", "detector", *beside, "--detector", "kernel-density", "--out", "d.safetensors")
    assert main(list(fit)) == 0
    look = ("detect", *beside, "--detector", "d.safetensors", "feature-squeezing", "--attack", "fgsm", "ddn")
    assert main([*look, "--eps", "0.5", "--steps", "5", "--out", "runs/d"]) == 0
    records = json.loads((tmp_path / "runs/d/results.json").read_text())["detections"]
    named = [(one["detector"], one["attack"], one["seen"]) for one in records]
    names = ("d", "feature-squeezing")
    assert named == [(name, *one) for name in names for one in (("fgsm ε 0.5", True), ("ddn", False))]
    page = (tmp_path / "runs/d/report.html").read_bytes()
    assert main(["report", "runs/d", "--out", "again.html"]) == 0
    assert (tmp_path / "again.html").read_bytes() == page
    capsys.readouterr()
    for bad, told in (
        (("detect", *beside, "--detector", "magic", "--eps", "0.1"), "detector's name or file, got 'magic'"),
        (("detect", *beside, "--fitted-on", "spatial", "--eps", "0.1"), "expected an attack within a ball"),
        (("train", "detector", *beside, "--detector", "disagreement", "--out", "e.safetensors"), "expected a purifier"),
    ):
        assert main(list(bad)) == 2
        assert told in capsys.readouterr().err
