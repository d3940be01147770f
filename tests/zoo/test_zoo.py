"""The zoo's figures, measured again: what clean images, the naive attack and the right one leave of each member."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from steelman.defences import BitDepth, DifferentiableJPEG, MedianSmoothing

from . import judge, naive, truth, zoo
from .specimen import Specimen
from .stages import HardBitDepth, HardJPEG, NumpyMedian, RootOfExcess, Sawtooth, Thermometer

CLOSE = 0.05
GAP = 0.5
CLEAN = 0.9
DEAR = {"resize-pad", "noise", "noisy-features", "left-in-training", "adversarially-trained"}

each = pytest.mark.parametrize("specimen", zoo.values(), ids=zoo)
each_in_time = pytest.mark.parametrize(
    "specimen", [pytest.param(zoo[name], id=name, marks=[pytest.mark.slow] * (name in DEAR)) for name in zoo]
)
broken = pytest.mark.parametrize(
    "specimen", [member for member in zoo.values() if not member.sound], ids=lambda m: m.name
)


@pytest.fixture(scope="module")
def data() -> tuple[torch.Tensor, torch.Tensor]:
    images = judge.images()
    return images.x, images.y


def slope(model: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """The gradient of the mean answer at images."""
    x = x.clone().requires_grad_()
    return torch.autograd.grad(model(x).sum(), x)[0]


@each
def test_a_member_reads_clean_images(specimen: Specimen, data: tuple[torch.Tensor, torch.Tensor]) -> None:
    assert judge.accuracy(specimen.build(), *data, attacked=False) >= CLEAN
    if specimen.undefended is not None:
        assert judge.accuracy(specimen.undefended(), *data, attacked=False) >= CLEAN


@each
def test_a_member_is_built_anew(specimen: Specimen) -> None:
    first, second = specimen.build(), specimen.build()
    assert first is not second
    assert first.state_dict().keys() == second.state_dict().keys()
    assert all(torch.equal(value, second.state_dict()[name]) for name, value in first.state_dict().items())


@each
def test_the_naive_attack_leaves_what_is_recorded(specimen: Specimen, data: tuple[torch.Tensor, torch.Tensor]) -> None:
    x, y = data
    model = specimen.build()
    target = model if specimen.against == "the pipeline" else specimen.undefended()
    found = naive.pgd(target, x, y, specimen.eps)
    assert (found - x).abs().max() <= specimen.eps + 1e-6
    assert judge.accuracy(model, found, y, attacked=True) == pytest.approx(specimen.naive, abs=CLOSE)


@each_in_time
def test_the_right_attack_leaves_what_is_recorded(specimen: Specimen, data: tuple[torch.Tensor, torch.Tensor]) -> None:
    x, y = data
    found = truth.attacks[specimen.name](specimen, x, y)
    assert (found - x).abs().max() <= specimen.eps + 1e-6
    assert judge.accuracy(specimen.build(), found, y, attacked=True) == pytest.approx(specimen.truth, abs=CLOSE)


@broken
def test_a_broken_defence_is_a_trap(specimen: Specimen) -> None:
    assert specimen.naive - specimen.truth >= GAP


def test_the_sound_are_no_traps() -> None:
    sound = [specimen for specimen in zoo.values() if specimen.sound]
    assert len(sound) == 3
    assert all(abs(specimen.naive - specimen.truth) <= CLOSE for specimen in sound)


def test_each_has_a_right_attack_and_a_story() -> None:
    assert truth.attacks.keys() == zoo.keys()
    assert all(name == specimen.name for name, specimen in zoo.items())
    told = (Path(__file__).parent / "README.md").read_text(encoding="utf-8")
    for specimen in zoo.values():
        row = next(line for line in told.splitlines() if line.startswith(f"| `{specimen.name}` |"))
        figures = [cell.strip() for cell in row.split("|")][2:]
        assert figures[0] == f"{specimen.eps:g}"
        assert figures[2:4] == [f"{specimen.naive:.2f}", f"{specimen.truth:.2f}"]


def test_the_weights_are_small() -> None:
    assert sum(path.stat().st_size for path in (Path(__file__).parent / "weights").iterdir()) < 600_000


@pytest.mark.parametrize(
    "stage", [HardBitDepth(4), HardJPEG(10), Thermometer(16)], ids=lambda stage: type(stage).__name__
)
def test_what_rounds_has_a_gradient_of_zero(stage: nn.Module, data: tuple[torch.Tensor, torch.Tensor]) -> None:
    assert not slope(stage, data[0][:4]).any()


def test_the_other_gradients_are_as_told(data: tuple[torch.Tensor, torch.Tensor]) -> None:
    x = data[0][:4]
    assert slope(RootOfExcess(), x).isnan().all()
    assert torch.equal(RootOfExcess()(x), x)
    assert not NumpyMedian()(x.clone().requires_grad_()).requires_grad
    inside = (x > 0.1) & (x < 0.9)
    assert (slope(Sawtooth(6, 0.5), x)[inside] < 0).all()


def test_a_sawtooth_rises_from_level_to_level() -> None:
    levels = torch.arange(7.0) / 6
    assert torch.equal(Sawtooth(6, 0.5)(levels), levels)


def test_the_stages_do_what_they_are_named_after(data: tuple[torch.Tensor, torch.Tensor]) -> None:
    x = data[0][:8]
    with torch.no_grad():
        assert torch.allclose(HardBitDepth(4)(x), BitDepth(4)(x))
        assert torch.equal(NumpyMedian()(x), MedianSmoothing(3)(x))
        assert torch.allclose(HardJPEG(10)(x), DifferentiableJPEG(10, "straight-through")(x), atol=1e-4)
        assert torch.equal(
            Thermometer(4)(torch.tensor([0.0, 0.3, 1.0]).view(3, 1, 1, 1)).sum((1, 2, 3)).long(),
            torch.tensor([0, 2, 4]),
        )


def test_one_left_in_training_cannot_be_put_into_evaluation_mode(data: tuple[torch.Tensor, torch.Tensor]) -> None:
    x = data[0]
    model = nn.Sequential(zoo["left-in-training"].build()).eval()
    assert all(module.training for module in model[0].modules())
    answers = []
    for others in (x[4:8], x[50:54]):
        torch.manual_seed(0)  # so that dropout takes the same numbers, and the batch alone differs
        answers.append(model(torch.cat([x[:4], others]))[:4])
    assert not torch.allclose(*answers)
