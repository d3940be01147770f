"""What every module in front of a classifier must do, whoever wrote it."""

from __future__ import annotations

import copy
import json
import pickle
import sys
from collections.abc import Callable

import torch
from torch import Tensor, nn

from steelman.errors import InputError
from steelman.testing.subjects import holds


def check_defence(
    defence: nn.Module | Callable[[], nn.Module],
    *,
    shape: tuple[int, int, int] = (1, 32, 32),
    gradient: bool = True,
    exact: bool = False,
) -> None:
    """Tries whether a module can stand in front of a classifier: a purifier or a transform.

    defence: the module, or what makes one when called without arguments.  shape: (C, H, W) of images that it takes.
    gradient: whether one reaches the image.  exact: whether it also refuses images that are none, as all do that ship.
    Raises AssertionError with a sentence for what does not hold.
    """
    module = defence if isinstance(defence, nn.Module) else defence()
    what = type(module).__name__
    x = torch.rand(4, *shape, generator=torch.Generator().manual_seed(0))
    modes = [each.training for each in module.modules()]
    with torch.random.fork_rng(devices=[]):
        for training in (True, False):
            _images(module.train(training), x, what)
        _greys(module, x, what)
        _alike(module, x, what)
        _copies(module, x, what)
        if gradient:
            own = x.clone().requires_grad_()
            out = _asked(module, own).square().sum()
            grad = torch.autograd.grad(out, own, allow_unused=True)[0] if out.requires_grad else None
            reached = grad is not None and (grad.flatten(1).abs().sum(1) > 0).all()
            holds(reached, what, "expected a gradient that reaches every image; say gradient=False if none is meant to")
        if exact:
            _refusing(module, x, what)
    for each, mode in zip(module.modules(), modes, strict=True):
        each.training = mode


def _asked(module: nn.Module, x: Tensor, seed: int = 0) -> Tensor:
    """What it answers to a seed."""
    torch.manual_seed(seed)
    out: Tensor = module(x)
    return out


def _images(module: nn.Module, x: Tensor, what: str) -> None:
    """Images go in and images come out."""
    before, training = x.clone(), module.training
    out = _asked(module, x)
    holds(isinstance(out, Tensor) and out.shape == x.shape, what, f"expected images {tuple(x.shape)} as they went in")
    holds(out.dtype == x.dtype, what, f"expected {x.dtype} as it went in, got {out.dtype}")
    holds(torch.isfinite(out).all() and out.min() >= 0 and out.max() <= 1, what, "expected finite images in [0, 1]")
    holds(torch.equal(x, before), what, "expected the images that went in left alone")
    holds(module.training == training, what, "expected its mode left alone")
    with torch.autocast("cpu", torch.bfloat16):
        half = _asked(module, x).float()
    holds(torch.isfinite(half).all() and half.min() >= 0 and half.max() <= 1, what, "expected images in bfloat16 too")


def _greys(module: nn.Module, x: Tensor, what: str) -> None:
    """An image of one grey is answered, and differentiated without NaN."""
    for value in (0.0, 1.0, 0.5):
        grey = torch.full_like(x[:2], value).requires_grad_()
        out = _asked(module, grey)
        holds(out.min() >= 0 and out.max() <= 1, what, f"expected an image of {value} everywhere answered in [0, 1]")
        if out.requires_grad:
            out.square().sum().backward()
            fine = grey.grad is None or bool(torch.isfinite(grey.grad).all())
            holds(fine, what, f"expected finite gradients at an image of {value} everywhere")


def _alike(module: nn.Module, x: Tensor, what: str) -> None:
    """A seed settles what it answers, with and without gradients, and each image's answer is its own."""
    one = _asked(module, x)
    with torch.no_grad():
        quiet = _asked(module, x)
    holds(not quiet.requires_grad and torch.allclose(quiet, one, atol=1e-6), what, "expected the same under no_grad")
    holds(torch.equal(_asked(module, x), _asked(module, x)), what, "expected one answer to torch's seed")
    if torch.equal(_asked(module, x, 1), _asked(module, x, 2)):
        alone = torch.cat([_asked(module, image) for image in x.split(1)])
        holds(torch.allclose(alone, one, atol=1e-5), what, "expected an image's answer to be the same in any batch")


def _copies(module: nn.Module, x: Tensor, what: str) -> None:
    """Copies answer the same, and settings make it again."""
    expected = _asked(module, x)
    named = getattr(sys.modules.get(type(module).__module__), type(module).__qualname__, None) is type(module)
    copies = [copy.deepcopy(module), *([pickle.loads(pickle.dumps(module))] if named else [])]
    same = all(torch.equal(_asked(other, x), expected) for other in copies)
    holds(same, what, "expected a copy, and a pickled one, to answer the same")
    settings = getattr(module, "settings", None)
    if settings is None:
        return
    holds(json.loads(json.dumps(settings)) == settings, what, "expected its settings as JSON values")
    again = type(module)(**settings)
    holds(again.settings == settings, what, "expected its settings to make it again")
    holds(list(again.state_dict()) == list(module.state_dict()), what, "expected its settings to make the same layers")


def _refusing(module: nn.Module, x: Tensor, what: str) -> None:
    """Images that are none are refused in a sentence."""
    for told, wrong in {"below 0": x - 0.5, "above 1": 255 * x, "not finite": x / 0, "without a batch": x[0]}.items():
        try:
            module(wrong)
        except InputError:
            continue
        raise AssertionError(f"{what}: expected an InputError for images {told}: begin with input_checks.check")
