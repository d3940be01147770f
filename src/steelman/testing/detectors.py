"""What every detector must do, whoever wrote it."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from steelman.defences import detectors
from steelman.errors import InputError
from steelman.testing.subjects import Scene, holds, scene


def check_detector(
    detector: str | nn.Module | Callable[..., nn.Module],
    *,
    on: Scene | None = None,
    gradient: bool = True,
    exact: bool = False,
    **settings: Any,
) -> None:
    """Tries whether a module is a detector: it is fitted on clean and attacked images, scores, and survives a file.

    detector: a fitted one beside the networks of `on`; or a name of the catalogue, or a class or a function as it
    holds them, which is then built with these settings and fitted.
    on: networks and images; small ones of our own unless told.  gradient: whether one reaches the image.
    exact: whether it also refuses images that are none, as all do that ship.
    Raises AssertionError with a sentence for what does not hold, and InputError for what makes no detector.
    """
    seen = scene() if on is None else on
    kind: Any = None if isinstance(detector, nn.Module) else detector
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        made: Any = detector if kind is None else detectors.build(kind, seen.classifier, seen.purifier, **settings)
        what = type(made).__name__
        if kind is not None:
            lacking = [word for word in ("name", "settings", "watched", "score", "fit") if not hasattr(made, word)]
            holds(not lacking, what, f"expected a Detector, got one without {', '.join(lacking)}")
            holds(made.fit(seen.x, seen.y, seen.attacked) is made, what, "expected fit to return the detector")
        _scores(made.eval(), seen, what)
        _survives(made, kind, seen, what)
        if gradient:
            x = seen.attacked[:4].clone().requires_grad_()
            made.score(x).sum().backward()
            grad = torch.zeros(4, 1) if x.grad is None else x.grad.flatten(1)
            reached = (grad.abs().sum(1) > 0).all() and torch.isfinite(grad).all()
            holds(reached, what, "expected a finite gradient that reaches every image; say gradient=False if none does")
        if exact:
            _refusing(made, seen, what)


def _scores(made: Any, seen: Scene, what: str) -> None:
    """Every image gets a finite score of its own."""
    x = seen.attacked[:6]
    before = x.clone()
    with torch.no_grad():
        together = made.score(x)
        holds(together.shape == (6,), what, f"expected (6,) scores for 6 images, got {tuple(together.shape)}")
        holds(together.dtype == torch.float32, what, f"expected scores in single precision, got {together.dtype}")
        holds(torch.isfinite(together).all(), what, "expected finite scores")
        alone = torch.cat([made.score(one[None]) for one in x])
    holds(torch.allclose(together, alone, rtol=1e-3, atol=1e-4), what, "expected the same score in any batch")
    holds(torch.equal(x, before), what, "expected the images that it scores left alone")


def _survives(made: Any, kind: Any, seen: Scene, what: str) -> None:
    """It is saved without the classifier that it watches, and loaded beside it again."""
    own = {tensor.data_ptr() for tensor in seen.classifier.state_dict().values()}
    held = {tensor.data_ptr() for tensor in made.state_dict().values()}
    holds(not own & held, what, "expected the classifier that it watches to be no part of it: keep it in `watched`")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "detector.safetensors"
        detectors.save(made, path, tuple(seen.x.shape[1:]))
        again: Any = detectors.load(path, seen.classifier, seen.purifier, kind)
    with torch.no_grad():
        same = torch.equal(again.score(seen.attacked), made.score(seen.attacked))
    holds(same and not again.training, what, "expected the same scores of one that was saved and loaded")


def _refusing(made: Any, seen: Scene, what: str) -> None:
    """Images that are none are refused in a sentence."""
    for told, wrong in {"above 1": 3 * seen.x, "not finite": seen.x / 0}.items():
        try:
            made.score(wrong)
        except InputError:
            continue
        raise AssertionError(f"{what}: expected an InputError for images {told}: begin with input_checks.check")
