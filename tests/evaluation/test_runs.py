"""Run folders afterwards: listed, compared, exported; and a run that is killed goes on."""

from __future__ import annotations

import csv
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from steelman import attacks, weights
from steelman.data import Images
from steelman.errors import InputError
from steelman.evaluation.evaluate import evaluate
from steelman.evaluation.options import EvaluationOptions
from steelman.evaluation.storing.runs import cases, compared, exported, listed
from steelman.models import CNN
from steelman.norms import L2, Linf
from steelman.pipeline import Pipeline

PLAIN = EvaluationOptions(certify=False, curve=False, check=False)


def images(n: int = 30, name: str = "noise test") -> Images:
    generator = torch.Generator().manual_seed(0)
    return Images(torch.rand(n, 1, 28, 28, generator=generator), torch.arange(n) % 3, ("a", "b", "c"), name)


def model(seed: int) -> torch.nn.Module:
    torch.manual_seed(seed)
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(784, 3)).eval()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs on the same images."""
    where = tmp_path_factory.mktemp("runs")
    for seed, name in ((0, "one"), (1, "two")):
        named = Pipeline(model(seed), name=name)
        evaluate(named, images(), attacks.fgsm(Linf(0.01)), PLAIN, folder=where / name)
    return where


def test_runs_are_listed_with_what_they_found(folder: Path) -> None:
    found = listed(folder)
    assert {one.title for one in found} == {"one on noise", "two on noise"}
    assert all(one.finished and not one.trouble for one in found)
    assert all(one.cases == cases(one.folder) for one in found)
    assert listed(folder / "one") == [one for one in found if one.title == "one on noise"]


def test_a_run_that_cannot_be_read_is_listed_with_the_reason(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "run.sqlite").write_bytes(b"no such thing" * 100)
    (found,) = listed(tmp_path)
    assert "damaged or other file" in found.trouble
    with pytest.raises(InputError, match="damaged or other file"):
        cases(tmp_path)


def test_two_runs_are_compared_image_by_image(folder: Path) -> None:
    (found,) = compared(folder / "one", folder / "two")
    one, two = ({s.index: s.kept for s in cases(folder / name)[0].samples} for name in ("one", "two"))
    assert found.n == 30
    assert found.both == sum(one[i] and two[i] for i in one)
    assert found.first == sum(one[i] and not two[i] for i in one)
    assert found.second == sum(two[i] and not one[i] for i in one)
    assert found.both + found.first + found.second + found.neither == 30
    assert 0 < found.p <= 1
    (same,) = compared(folder / "one", folder / "one")
    assert (same.first, same.second, same.p) == (0, 0, 1.0)


def test_images_are_paired_by_what_they_are_not_by_where_they_stand(folder: Path, tmp_path: Path) -> None:
    turned, shuffled = images(), torch.randperm(30)
    turned = Images(turned.images[shuffled], turned.labels[shuffled], turned.classes, "another name")
    evaluate(model(1), turned, attacks.fgsm(Linf(0.01)), PLAIN, folder=tmp_path / "turned")
    assert compared(folder / "one", tmp_path / "turned") == compared(folder / "one", folder / "two")


def test_what_cannot_be_compared_is_one_clear_error(folder: Path, tmp_path: Path) -> None:
    evaluate(model(0), images(), attacks.fgsm(L2(0.1)), PLAIN, folder=tmp_path / "other norm")
    evaluate(model(0), images(name="photos test"), attacks.fgsm(Linf(0.01)), PLAIN, folder=tmp_path / "data")
    with pytest.raises(InputError, match=r"a threat that both have, got Linf 0\.01 and L2 0\.1"):
        compared(folder / "one", tmp_path / "other norm")
    assert compared(folder / "one", tmp_path / "data")[0].n == 30
    moved = Images(1 - images().images, images().labels, ("a", "b", "c"), "noise test")
    evaluate(model(0), moved, attacks.fgsm(Linf(0.01)), PLAIN, folder=tmp_path / "moved")
    with pytest.raises(InputError, match="the same images, got different ones at 30 places, the first 0"):
        compared(folder / "one", tmp_path / "moved")
    named = Images(images().images, images().labels, ("a", "b", "d"), "noise test")
    evaluate(model(0), named, attacks.fgsm(Linf(0.01)), PLAIN, folder=tmp_path / "named")
    with pytest.raises(InputError, match="got different ones at 10 places, the first 2"):
        compared(folder / "one", tmp_path / "named")
    far = images(60).take(torch.arange(40, 60))
    evaluate(model(0), far, attacks.fgsm(Linf(0.01)), PLAIN, folder=tmp_path / "others")
    with pytest.raises(InputError, match="the same images"):
        compared(folder / "one", tmp_path / "others")


def test_samples_are_exported(folder: Path, tmp_path: Path) -> None:
    assert exported(folder / "one", tmp_path / "samples.csv") == 30
    with (tmp_path / "samples.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    (case,) = cases(folder / "one")
    assert [int(line["index"]) for line in lines] == [sample.index for sample in case.samples]
    assert [line["kept"] == "True" for line in lines] == [sample.kept for sample in case.samples]
    assert {line["eps"] for line in lines} == {"0.01"}
    assert exported(folder / "one", tmp_path / "samples.json") == 30
    assert json.loads((tmp_path / "samples.json").read_text())[3]["label"] == case.samples[3].label
    with pytest.raises(InputError, match="the name of a format, got 'xls'"):
        exported(folder / "one", tmp_path / "samples.xls")


def test_parquet_needs_its_extra(folder: Path, tmp_path: Path) -> None:
    try:
        from pyarrow import parquet
    except ImportError:
        with pytest.raises(InputError, match=r"install steelman\[frames\]"):
            exported(folder / "one", tmp_path / "samples.parquet")
    else:
        exported(folder / "one", tmp_path / "samples.parquet")
        assert parquet.read_table(tmp_path / "samples.parquet").num_rows == 30


@pytest.mark.parametrize("after", [0.0, 0.35])
def test_a_killed_run_goes_on_to_the_same_records(after: float, tmp_path: Path) -> None:
    """Killed in earnest, as soon as there is a journal and somewhat later."""
    torch.manual_seed(0)
    weights.write(CNN(channels=1, classes=3), tmp_path / "cnn.safetensors", {})
    np.savez(tmp_path / "own.npz", images=images().images.numpy(), labels=images().labels.numpy())
    words = [sys.executable, "-m", "steelman", "evaluate", "--data", str(tmp_path / "own.npz"), "--model", "cnn"]
    words += ["--weights", str(tmp_path / "cnn.safetensors"), "--attack", "pgd", "square", "--eps", "0.02"]
    words += ["--queries", "60", "--batch", "5", "--no-checks", "--no-certify"]
    run = [*words, "--out", str(tmp_path / "run")]
    whole = subprocess.Popen([*words, "--out", str(tmp_path / "whole")], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    killed = subprocess.Popen(run, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    ends = time.monotonic() + 60
    while not (tmp_path / "run" / "run.sqlite").exists() and time.monotonic() < ends:
        time.sleep(0.01)
    time.sleep(after)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    assert whole.communicate()[1] == b""
    assert not (tmp_path / "run" / "results.json").exists()
    assert subprocess.run(run, capture_output=True, check=True).stderr == b""
    one, other = (cases(tmp_path / name)[0] for name in ("run", "whole"))
    assert one.samples == other.samples
    assert [(b.tried, b.broke, b.backwards) for b in one.breakers] == [
        (b.tried, b.broke, b.backwards) for b in other.breakers
    ]
