"""Attacks of other libraries behind one signature, so that a benchmark can take them in turn.

    python benchmarks/peers.py --images 20 --attacks fgsm pgd

adapters() is keyed by attack, then by library; a library that is not installed is absent. Every call takes the same
Settings, which stand here for what each library calls differently, draws from its own seed and leaves the global
generators, the working folder and the parameters' gradients as they were. What comes back is what the library gave:
some give the clean image where they fail, some the last step, and nothing is clipped here.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.metadata
import importlib.util
import io
import math
import random
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial, wraps
from typing import Any
from unittest import mock

import numpy as np
import torch
from torch import Tensor, nn

__all__ = ["LIBRARIES", "SETTINGS", "Adapter", "Settings", "adapters", "settings", "starts", "versions"]


@dataclass(frozen=True)
class Settings:
    """What an attack is to do, in one vocabulary for all libraries; an attack reads what concerns it.

    eps: radius of the ball, in the attack's norm; some libraries' fab throws away what it finds beyond.
    steps: gradient steps, of each search and restart; generations of one-pixel; iterations of hopskipjump.
    size: length of a step; the learning rate of cw and ead; the first step of fmn and sigma-zero.
    queries: of the model per image, for the attacks that are given a number of them.
    searches: binary searches of the constant of cw and ead; const: the first one.
    early: whether cw and ead may leave a search that no longer improves, where the library can be told.
    gamma: the factor by which ddn and fmn change the radius; radius: ddn's first.
    beta: ead's weight of L1; decay: mi-fgsm's of the past; theta: what jsma adds to a pixel.
    share: of the pixels that jsma may change; population: of one-pixel.
    p: the share of pixels that square starts with; rescale: whether its schedule is stretched to the queries.
    evals: first and most queries of hopskipjump for one gradient.
    pixels, degrees, grid: how far spatial shifts and turns, and in how many places of each range.
    """

    eps: float = 0.1
    steps: int = 100
    size: float = 0.01
    restarts: int = 1
    queries: int = 1000
    seed: int = 0
    classes: int = 10
    searches: int = 9
    const: float = 1e-3
    early: bool = True
    gamma: float = 0.05
    radius: float = 1.0
    overshoot: float = 0.02
    beta: float = 1e-3
    decay: float = 1.0
    theta: float = 1.0
    share: float = 0.1
    population: int = 400
    p: float = 0.8
    rescale: bool = True
    evals: tuple[int, int] = (100, 10000)
    pixels: float = 3
    degrees: float = 30
    grid: int = 5


Adapter = Callable[[nn.Module, Tensor, Tensor, Settings], Tensor]
"""(model, x (N, *S) in [0, 1], y (N,), settings) to adversarial images (N, *S)."""

_L2 = {"autoattack", "apgd-ce", "square"}
_ORDER: dict[str, float] = {"l0": 0, "l1": 1, "l2": 2, "linf": math.inf}
_LARGE = {"l0": "L0", "l1": "L1", "l2": "L2", "linf": "Linf"}

SETTINGS: dict[str, Settings] = {
    "fgsm": Settings(),
    "pgd": Settings(steps=40, size=0.1 / 30),
    "mi-fgsm": Settings(steps=10, size=0.01),
    "deepfool": Settings(steps=50),
    "fmn": Settings(size=1.0),
    "fmn-linf": Settings(size=10.0),
    "fab-linf": Settings(eps=1.0),
    "fab-l2": Settings(eps=10.0),
    "fab-l1": Settings(eps=100.0),
    "sigma-zero": Settings(size=1.0),
    "one-pixel": Settings(steps=100),
    "hopskipjump": Settings(steps=10),
    "geoda": Settings(queries=2000),
    "boundary": Settings(queries=2000),
    "l2": Settings(eps=2.0),
}
"""Settings by attack, by attack and norm, or by norm; read through settings()."""


def settings(attack: str, **changes: Any) -> Settings:
    """Returns the settings of an attack at which the libraries are compared, with changes."""
    name, _, norm = attack.rpartition("-")
    fallback = Settings(eps=SETTINGS["l2"].eps) if norm == "l2" and name in _L2 else Settings()
    return replace(SETTINGS.get(attack, SETTINGS.get(name, fallback)), **changes)


def starts(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """Returns for each image the next one of the batch that the model puts in another class, (N, *S).

    Decision attacks of all libraries start there: their own random starts differ, and fail on some images.
    Raises ValueError where an image has no such neighbour.
    """
    with torch.no_grad():
        found = model(x).argmax(1)
    order = (torch.arange(len(x), device=x.device)[:, None] + torch.arange(len(x), device=x.device)) % len(x)
    other = (found[order] != y[:, None]) & (found[order] != found[:, None])
    if not other.any(1).all():
        raise ValueError("expected a batch with images of two classes at least: take more images")
    return x[order.gather(1, other.int().argmax(1, keepdim=True)).squeeze(1)]


def _torchattacks() -> dict[str, Adapter]:
    """Returns the adapters of torchattacks."""
    import torchattacks as lib

    def jsma(model: nn.Module, x: Tensor, y: Tensor, s: Settings) -> Tensor:
        attack = lib.JSMA(model, theta=s.theta, gamma=s.share)
        attack.set_mode_targeted_by_label(quiet=True)
        return attack(x, (y + 1) % s.classes)

    def cw(model: nn.Module, x: Tensor, y: Tensor, s: Settings) -> Tensor:
        return lib.CW(model, c=1, steps=s.searches * s.steps, lr=s.size)(x, y)

    def ead(rule: str, model: nn.Module, x: Tensor, y: Tensor, s: Settings) -> Tensor:
        return getattr(lib, rule)(
            model,
            lr=s.size,
            binary_search_steps=s.searches,
            max_iterations=s.steps,
            abort_early=s.early,
            initial_const=s.const,
            beta=s.beta,
        )(x, y)

    def apgd(norm: str, model: nn.Module, x: Tensor, y: Tensor, s: Settings) -> Tensor:
        return lib.APGD(model, norm, s.eps, s.steps, s.restarts, seed=s.seed)(x, y)

    def fab(norm: str, model: nn.Module, x: Tensor, y: Tensor, s: Settings) -> Tensor:
        return lib.FAB(model, norm, s.eps, s.steps, s.restarts, seed=s.seed, n_classes=s.classes)(x, y)

    def autoattack(norm: str, model: nn.Module, x: Tensor, y: Tensor, s: Settings) -> Tensor:
        return lib.AutoAttack(model, norm, s.eps, n_classes=s.classes, seed=s.seed)(x, y)

    def square(norm: str, model: nn.Module, x: Tensor, y: Tensor, s: Settings) -> Tensor:
        return lib.Square(model, norm, s.eps, s.queries, s.restarts, s.p, resc_schedule=s.rescale, seed=s.seed)(x, y)

    return {
        "fgsm": lambda model, x, y, s: lib.FGSM(model, s.eps)(x, y),
        "pgd": lambda model, x, y, s: lib.PGD(model, s.eps, s.size, s.steps, random_start=False)(x, y),
        "mi-fgsm": lambda model, x, y, s: lib.MIFGSM(model, s.eps, s.size, s.steps, s.decay)(x, y),
        "deepfool": lambda model, x, y, s: lib.DeepFool(model, s.steps, s.overshoot)(x, y),
        "cw": cw,
        "jsma": jsma,
        "one-pixel": lambda model, x, y, s: lib.OnePixel(model, 1, s.steps, s.population, inf_batch=1024)(x, y),
        "ead-l1": partial(ead, "EADL1"),
        "ead-en": partial(ead, "EADEN"),
        **{f"apgd-ce-{norm}": partial(apgd, _LARGE[norm]) for norm in ("linf", "l2")},
        **{f"autoattack-{norm}": partial(autoattack, _LARGE[norm]) for norm in ("linf", "l2")},
        **{f"square-{norm}": partial(square, _LARGE[norm]) for norm in ("linf", "l2")},
        # Its FAB does not know its own L1: it raises UnboundLocalError.
        **{f"fab-{norm}": partial(fab, _LARGE[norm]) for norm in ("linf", "l2")},
    }


def _foolbox() -> dict[str, Adapter]:
    """Returns the adapters of Foolbox."""
    import foolbox
    from foolbox import attacks as lib

    def run(attack: Any, model: nn.Module, x: Tensor, y: Tensor, eps: float | None = None, **keywords: Any) -> Tensor:
        wrapped = foolbox.PyTorchModel(model, bounds=(0, 1), device=x.device)
        adversarial: Tensor = attack(wrapped, x, y, epsilons=eps, **keywords)[0 if eps is None else 1]
        return adversarial

    def fgsm(model: nn.Module, x: Tensor, y: Tensor, s: Settings) -> Tensor:
        return run(lib.LinfFastGradientAttack(), model, x, y, s.eps)

    def pgd(model: nn.Module, x: Tensor, y: Tensor, s: Settings) -> Tensor:
        attack = lib.LinfProjectedGradientDescentAttack(abs_stepsize=s.size, steps=s.steps, random_start=False)
        return run(attack, model, x, y, s.eps)

    def mi_fgsm(model: nn.Module, x: Tensor, y: Tensor, s: Settings) -> Tensor:
        kind = lib.LinfMomentumIterativeFastGradientMethod
        return run(kind(momentum=s.decay, abs_stepsize=s.size, steps=s.steps), model, x, y, s.eps)

    def ddn(model: nn.Module, x: Tensor, y: Tensor, s: Settings) -> Tensor:
        return run(lib.DDNAttack(init_epsilon=s.radius, steps=s.steps, gamma=s.gamma), model, x, y)

    def fmn(kind: type, model: nn.Module, x: Tensor, y: Tensor, s: Settings) -> Tensor:
        return run(kind(steps=s.steps, max_stepsize=s.size, gamma=s.gamma), model, x, y)

    def deepfool(model: nn.Module, x: Tensor, y: Tensor, s: Settings) -> Tensor:
        attack = lib.L2DeepFoolAttack(steps=s.steps, candidates=s.classes, overshoot=s.overshoot)
        return run(attack, model, x, y)

    def cw(model: nn.Module, x: Tensor, y: Tensor, s: Settings) -> Tensor:
        attack = lib.L2CarliniWagnerAttack(
            binary_search_steps=s.searches,
            steps=s.steps,
            stepsize=s.size,
            initial_const=s.const,
            abort_early=s.early,
        )
        return run(attack, model, x, y)

    def ead(rule: Any, model: nn.Module, x: Tensor, y: Tensor, s: Settings) -> Tensor:
        attack = lib.EADAttack(
            binary_search_steps=s.searches,
            steps=s.steps,
            initial_stepsize=s.size,
            initial_const=s.const,
            regularization=s.beta,
            decision_rule=rule,
            abort_early=s.early,
        )
        return run(attack, model, x, y)

    def hopskipjump(model: nn.Module, x: Tensor, y: Tensor, s: Settings) -> Tensor:
        attack = lib.HopSkipJumpAttack(
            steps=s.steps, initial_gradient_eval_steps=s.evals[0], max_gradient_eval_steps=s.evals[1]
        )
        return run(attack, model, x, y, starting_points=starts(model, x, y))

    def boundary(model: nn.Module, x: Tensor, y: Tensor, s: Settings) -> Tensor:
        return run(lib.BoundaryAttack(steps=s.queries), model, x, y, starting_points=starts(model, x, y))

    def spatial(model: nn.Module, x: Tensor, y: Tensor, s: Settings) -> Tensor:
        return run(lib.SpatialAttack(s.pixels, s.degrees, s.grid, s.grid), model, x, y)

    return {
        "fgsm": fgsm,
        "pgd": pgd,
        "mi-fgsm": mi_fgsm,
        "ddn": ddn,
        "fmn-l0": partial(fmn, lib.L0FMNAttack),
        "fmn-l1": partial(fmn, lib.L1FMNAttack),
        "fmn-l2": partial(fmn, lib.L2FMNAttack),
        "fmn-linf": partial(fmn, lib.LInfFMNAttack),
        "deepfool": deepfool,
        "cw": cw,
        "ead-l1": partial(ead, "L1"),
        "ead-en": partial(ead, "EN"),
        "hopskipjump": hopskipjump,
        "boundary": boundary,
        "spatial": spatial,
    }


def _adv_lib() -> dict[str, Adapter]:
    """Returns the adapters of adv-lib."""
    from adv_lib import attacks as lib

    def fgsm(model: nn.Module, x: Tensor, y: Tensor, s: Settings) -> Tensor:
        # Its PGD looks at a step only when it takes the next one: after a single step it gives the clean image.
        return lib.pgd_linf(model, x, y, s.eps, steps=2, random_init=False, absolute_step_size=s.eps)

    def pgd(model: nn.Module, x: Tensor, y: Tensor, s: Settings) -> Tensor:
        return lib.pgd_linf(model, x, y, s.eps, steps=s.steps, random_init=False, absolute_step_size=s.size)

    def apgd(norm: float, model: nn.Module, x: Tensor, y: Tensor, s: Settings) -> Tensor:
        return lib.apgd(model, x, y, s.eps, norm, n_iter=s.steps, n_restarts=s.restarts, loss_function="ce")

    def ddn(model: nn.Module, x: Tensor, y: Tensor, s: Settings) -> Tensor:
        return lib.ddn(model, x, y, steps=s.steps, γ=s.gamma, init_norm=s.radius, levels=None)

    def fmn(norm: float, model: nn.Module, x: Tensor, y: Tensor, s: Settings) -> Tensor:
        return lib.fmn(model, x, y, norm, steps=s.steps, α_init=s.size, γ_init=s.gamma)

    def fab(norm: float, model: nn.Module, x: Tensor, y: Tensor, s: Settings) -> Tensor:
        return lib.fab(model, x, y, norm, n_iter=s.steps, ε=s.eps, restarts=s.restarts)

    def cw(model: nn.Module, x: Tensor, y: Tensor, s: Settings) -> Tensor:
        return lib.carlini_wagner_l2(
            model,
            x,
            y,
            learning_rate=s.size,
            initial_const=s.const,
            binary_search_steps=s.searches,
            max_iterations=s.steps,
            abort_early=s.early,
        )

    return {
        "fgsm": fgsm,
        "pgd": pgd,
        "ddn": ddn,
        "deepfool": lambda model, x, y, s: lib.df(model, x, y, steps=s.steps, overshoot=s.overshoot),
        "cw": cw,
        "sigma-zero": lambda model, x, y, s: lib.sigma_zero(model, x, y, num_steps=s.steps, η_0=s.size),
        **{f"apgd-ce-{norm}": partial(apgd, _ORDER[norm]) for norm in ("linf", "l2")},
        **{f"fmn-{norm}": partial(fmn, _ORDER[norm]) for norm in ("l0", "l1", "l2", "linf")},
        **{f"fab-{norm}": partial(fab, _ORDER[norm]) for norm in ("l1", "l2", "linf")},
    }


def _secmlt() -> dict[str, Adapter]:
    """Returns the adapters of SecML-Torch: its own code, but for fgsm, which it leaves to Foolbox."""
    from secmlt.adv.backends import Backends
    from secmlt.adv.evasion.ddn import DDN
    from secmlt.adv.evasion.fgsm import FGSM
    from secmlt.adv.evasion.fmn import FMN
    from secmlt.adv.evasion.pgd import PGD
    from torch.utils.data import DataLoader, TensorDataset

    def run(attack: Any, model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        ((adversarial, _),) = attack(model, DataLoader(TensorDataset(x, y), batch_size=len(x)), stream=True)
        return adversarial

    def pgd(model: nn.Module, x: Tensor, y: Tensor, s: Settings) -> Tensor:
        return run(PGD("linf", s.eps, s.steps, s.size, random_start=False, backend=Backends.NATIVE), model, x, y)

    def ddn(model: nn.Module, x: Tensor, y: Tensor, s: Settings) -> Tensor:
        return run(DDN(s.steps, eps_init=s.radius, gamma=s.gamma, backend=Backends.NATIVE), model, x, y)

    def fmn(norm: str, model: nn.Module, x: Tensor, y: Tensor, s: Settings) -> Tensor:
        return run(FMN(norm, s.steps, s.size, gamma=s.gamma, backend=Backends.NATIVE), model, x, y)

    return {
        "fgsm": lambda model, x, y, s: run(FGSM("linf", s.eps), model, x, y),
        "pgd": pgd,
        "ddn": ddn,
        **{f"fmn-{norm}": partial(fmn, norm) for norm in ("l0", "l1", "l2", "linf")},
    }


def _art() -> dict[str, Adapter]:
    """Returns the adapters of the Adversarial Robustness Toolbox."""
    from art.attacks import evasion as lib
    from art.estimators.classification import PyTorchClassifier

    class Single(nn.Module):
        """A model that takes the double precision that NumPy 2 makes of some attacks' images."""

        def __init__(self, model: nn.Module) -> None:
            super().__init__()
            self.model = model

        def forward(self, x: Tensor) -> Tensor:
            return self.model(x.float())

    def run(
        attack: str,
        model: nn.Module,
        x: Tensor,
        y: Tensor,
        s: Settings,
        start: Tensor | None = None,
        **keywords: Any,
    ) -> Tensor:
        estimator = PyTorchClassifier(
            Single(model),
            nn.CrossEntropyLoss(),
            input_shape=tuple(x.shape[1:]),
            nb_classes=s.classes,
            clip_values=(0.0, 1.0),
            device_type="gpu" if x.is_cuda else "cpu",
        )
        given = {} if start is None else {"x_adv_init": start.cpu().numpy()}
        found = getattr(lib, attack)(estimator, **keywords).generate(x.cpu().numpy(), y.cpu().numpy(), **given)
        return torch.from_numpy(found).to(x)

    def fgsm(model: nn.Module, x: Tensor, y: Tensor, s: Settings) -> Tensor:
        return run("FastGradientMethod", model, x, y, s, eps=s.eps, batch_size=len(x))

    def pgd(model: nn.Module, x: Tensor, y: Tensor, s: Settings) -> Tensor:
        keywords = {"eps": s.eps, "eps_step": s.size, "max_iter": s.steps, "batch_size": len(x), "verbose": False}
        return run("ProjectedGradientDescent", model, x, y, s, **keywords)

    def mi_fgsm(model: nn.Module, x: Tensor, y: Tensor, s: Settings) -> Tensor:
        keywords = {"eps": s.eps, "eps_step": s.size, "max_iter": s.steps, "batch_size": len(x), "verbose": False}
        return run("MomentumIterativeMethod", model, x, y, s, decay=s.decay, **keywords)

    def apgd(norm: float, model: nn.Module, x: Tensor, y: Tensor, s: Settings) -> Tensor:
        return run(
            "AutoProjectedGradientDescent",
            model,
            x,
            y,
            s,
            norm=norm,
            eps=s.eps,
            eps_step=2 * s.eps,
            max_iter=s.steps,
            nb_random_init=s.restarts,
            batch_size=len(x),
            loss_type="cross_entropy",
            verbose=False,
        )

    def deepfool(model: nn.Module, x: Tensor, y: Tensor, s: Settings) -> Tensor:
        keywords = {"max_iter": s.steps, "epsilon": s.overshoot, "nb_grads": s.classes}
        return run("DeepFool", model, x, y, s, batch_size=len(x), verbose=False, **keywords)

    def cw(model: nn.Module, x: Tensor, y: Tensor, s: Settings) -> Tensor:
        keywords = {"binary_search_steps": s.searches, "max_iter": s.steps, "learning_rate": s.size}
        keywords |= {"initial_const": s.const, "batch_size": len(x), "verbose": False}
        return run("CarliniL2Method", model, x, y, s, **keywords)

    def ead(rule: str, model: nn.Module, x: Tensor, y: Tensor, s: Settings) -> Tensor:
        keywords = {"binary_search_steps": s.searches, "max_iter": s.steps, "learning_rate": s.size}
        keywords |= {"initial_const": s.const, "beta": s.beta, "batch_size": len(x), "verbose": False}
        return run("ElasticNet", model, x, y, s, decision_rule=rule, **keywords)

    def jsma(model: nn.Module, x: Tensor, y: Tensor, s: Settings) -> Tensor:
        keywords = {"theta": s.theta, "gamma": s.share, "batch_size": len(x), "verbose": False}
        return run("SaliencyMapMethod", model, x, (y + 1) % s.classes, s, **keywords)

    def one_pixel(model: nn.Module, x: Tensor, y: Tensor, s: Settings) -> Tensor:
        # Its population is fixed at 400; th counts pixels, es=1 is differential evolution.
        return run("PixelAttack", model, x, y, s, th=1, es=1, max_iter=s.steps)

    def square(norm: float, model: nn.Module, x: Tensor, y: Tensor, s: Settings) -> Tensor:
        keywords = {"eps": s.eps, "p_init": s.p, "nb_restarts": s.restarts, "batch_size": len(x), "verbose": False}
        return run("SquareAttack", model, x, y, s, norm=norm, max_iter=s.queries, **keywords)

    def hopskipjump(model: nn.Module, x: Tensor, y: Tensor, s: Settings) -> Tensor:
        keywords = {"max_iter": s.steps, "init_eval": s.evals[0], "max_eval": s.evals[1], "verbose": False}
        return run("HopSkipJump", model, x, y, s, starts(model, x, y), batch_size=1024, **keywords)

    def geoda(model: nn.Module, x: Tensor, y: Tensor, s: Settings) -> Tensor:
        # It looks without end for noise that breaks an image, and asks NumPy for what NumPy 2 no longer has.
        noise = (x[:, None] + 10 * torch.randn(len(x), 64, *x.shape[1:], device=x.device)).clamp(0, 1)
        with torch.no_grad():
            broken = (model(noise.flatten(0, 1)).argmax(1).view(len(x), 64) != y[:, None]).any(1)
        found = x.clone()
        keywords = {"norm": 2, "max_iter": s.queries, "batch_size": 1024, "verbose": False}
        with mock.patch.object(np, "mat", np.asmatrix, create=True):
            found[broken] = run("GeoDA", model, x[broken], y[broken], s, **keywords)
        return found

    def boundary(model: nn.Module, x: Tensor, y: Tensor, s: Settings) -> Tensor:
        # An iteration tries 20 sideways and 20 inwards at least.
        keywords = {"targeted": False, "max_iter": max(1, s.queries // 40), "sample_size": 20}
        return run("BoundaryAttack", model, x, y, s, starts(model, x, y), verbose=False, **keywords)

    return {
        "fgsm": fgsm,
        "pgd": pgd,
        "mi-fgsm": mi_fgsm,
        "deepfool": deepfool,
        "cw": cw,
        "ead-l1": partial(ead, "L1"),
        "ead-en": partial(ead, "EN"),
        "jsma": jsma,
        "one-pixel": one_pixel,
        "hopskipjump": hopskipjump,
        "geoda": geoda,
        "boundary": boundary,
        **{f"apgd-ce-{norm}": partial(apgd, _ORDER[norm]) for norm in ("linf", "l2")},
        **{f"square-{norm}": partial(square, _ORDER[norm]) for norm in ("linf", "l2")},
    }


def _cleverhans() -> dict[str, Adapter]:
    """Returns the adapters of CleverHans."""
    from cleverhans.torch.attacks.carlini_wagner_l2 import carlini_wagner_l2
    from cleverhans.torch.attacks.fast_gradient_method import fast_gradient_method
    from cleverhans.torch.attacks.hop_skip_jump_attack import hop_skip_jump_attack
    from cleverhans.torch.attacks.projected_gradient_descent import projected_gradient_descent

    box = {"clip_min": 0.0, "clip_max": 1.0}

    def pgd(model: nn.Module, x: Tensor, y: Tensor, s: Settings) -> Tensor:
        keywords = {"y": y, "rand_init": False, "sanity_checks": False}
        return projected_gradient_descent(model, x, s.eps, s.size, s.steps, math.inf, **box, **keywords)

    def cw(model: nn.Module, x: Tensor, y: Tensor, s: Settings) -> Tensor:
        keywords = {"lr": s.size, "initial_const": s.const, "binary_search_steps": s.searches}
        return carlini_wagner_l2(model, x, s.classes, y=y, max_iterations=s.steps, **box, **keywords)

    def hopskipjump(model: nn.Module, x: Tensor, y: Tensor, s: Settings) -> Tensor:
        keywords = {"initial_num_evals": s.evals[0], "max_num_evals": s.evals[1], "num_iterations": s.steps}
        keywords |= {"image_target": starts(model, x, y)[:, None], "batch_size": 1024, "verbose": False}
        return hop_skip_jump_attack(model, x, 2, **box, **keywords)

    return {
        "fgsm": lambda model, x, y, s: fast_gradient_method(model, x, s.eps, math.inf, y=y, **box),
        "pgd": pgd,
        "cw": cw,
        "hopskipjump": hopskipjump,
    }


def _pyautoattack() -> dict[str, Adapter]:
    """Returns the adapters of pyautoattack."""
    from pyautoattack import AutoAttack
    from pyautoattack.autopgd_base import APGDAttack
    from pyautoattack.fab_pt import FABAttack_PT
    from pyautoattack.square import SquareAttack

    def common(norm: str, x: Tensor, s: Settings) -> dict[str, Any]:
        return {"norm": norm, "eps": s.eps, "seed": s.seed, "device": x.device}

    @torch.no_grad()
    def apgd(norm: str, model: nn.Module, x: Tensor, y: Tensor, s: Settings) -> Tensor:
        return APGDAttack(model, n_iter=s.steps, n_restarts=s.restarts, **common(norm, x, s)).perturb(x, y)

    @torch.no_grad()
    def square(norm: str, model: nn.Module, x: Tensor, y: Tensor, s: Settings) -> Tensor:
        keywords = {"n_queries": s.queries, "n_restarts": s.restarts, "p_init": s.p, "resc_schedule": s.rescale}
        return SquareAttack(model, **keywords, **common(norm, x, s)).perturb(x, y)

    @torch.no_grad()
    def fab(norm: str, model: nn.Module, x: Tensor, y: Tensor, s: Settings) -> Tensor:
        return FABAttack_PT(model, n_iter=s.steps, n_restarts=s.restarts, **common(norm, x, s)).perturb(x, y)

    def autoattack(norm: str, model: nn.Module, x: Tensor, y: Tensor, s: Settings) -> Tensor:
        return AutoAttack(model, **common(norm, x, s)).run_standard_evaluation(x, y, batch_size=len(x))[0]

    return {
        **{f"apgd-ce-{norm}": partial(apgd, _LARGE[norm]) for norm in ("linf", "l2")},
        **{f"autoattack-{norm}": partial(autoattack, _LARGE[norm]) for norm in ("linf", "l2")},
        **{f"square-{norm}": partial(square, _LARGE[norm]) for norm in ("linf", "l2")},
        **{f"fab-{norm}": partial(fab, _LARGE[norm]) for norm in ("linf", "l2", "l1")},
    }


LIBRARIES: dict[str, tuple[str, Callable[[], dict[str, Adapter]]]] = {
    "adv-lib": ("adv_lib", _adv_lib),
    "art": ("art", _art),
    "cleverhans": ("cleverhans", _cleverhans),
    "foolbox": ("foolbox", _foolbox),
    "pyautoattack": ("pyautoattack", _pyautoattack),
    "secmlt": ("secmlt", _secmlt),
    "torchattacks": ("torchattacks", _torchattacks),
}
"""By the library's name: the module to look for, and what returns its adapters."""


@contextlib.contextmanager
def _alone(model: nn.Module, seed: int) -> Iterator[None]:
    """Seeds the global generators and puts back, after the block, what a library may have changed."""
    drawn, numbers = random.getstate(), np.random.get_state()
    modes = [(module, module.training) for module in model.modules()]
    grads = [(parameter, parameter.grad, parameter.requires_grad) for parameter in model.parameters()]
    model.eval()
    with (
        torch.random.fork_rng(),
        tempfile.TemporaryDirectory() as folder,
        contextlib.chdir(folder),
        contextlib.redirect_stdout(io.StringIO()),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        torch.manual_seed(seed)
        np.random.seed(seed % 2**32)
        random.seed(seed)
        try:
            yield
        finally:
            random.setstate(drawn)
            np.random.set_state(numbers)
            for module, training in modes:
                module.training = training
            for parameter, grad, wanted in grads:
                parameter.grad = grad
                parameter.requires_grad_(wanted)


def _adapted(call: Adapter) -> Adapter:
    """Returns an adapter that starts from its seed, spares the caller's images and leaves no state behind."""

    def adapted(model: nn.Module, x: Tensor, y: Tensor, s: Settings) -> Tensor:
        with _alone(model, s.seed):
            return call(model, x.detach().clone(), y.clone(), s).detach()

    return adapted if isinstance(call, partial) else wraps(call)(adapted)


def adapters() -> dict[str, dict[str, Adapter]]:
    """Returns the adapters of the libraries that are installed, by attack and then by library.

    Warns of a library that is installed but does not import.
    """
    found: dict[str, dict[str, Adapter]] = {}
    for library, (module, calls) in LIBRARIES.items():
        if importlib.util.find_spec(module) is None:
            continue
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                ours = calls()
        except ImportError as error:
            warnings.warn(f"{library} is installed but does not import: {error}", stacklevel=2)
            continue
        for attack, call in ours.items():
            found.setdefault(attack, {})[library] = _adapted(call)
    return dict(sorted(found.items()))


def versions() -> dict[str, str]:
    """Returns the versions of the libraries that are installed."""
    names = {"adv-lib": "adv-lib", "secmlt": "secml-torch", "art": "adversarial-robustness-toolbox"}
    found = {}
    for library in LIBRARIES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[library] = importlib.metadata.version(names.get(library, library))
    return found


def main() -> None:
    """Runs every adapter on a sample of the shipped MNIST classifier and prints what came of it."""
    from steelman import data, models

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=20)
    parser.add_argument("--attacks", nargs="*", help="as adapters() names them; all by default")
    parser.add_argument("--libraries", nargs="*", choices=sorted(LIBRARIES), help="all by default")
    parser.add_argument("--steps", type=int, help="instead of each attack's own")
    parser.add_argument("--searches", type=int, help="instead of each attack's own")
    parser.add_argument("--queries", type=int, help="instead of each attack's own")
    arguments = parser.parse_args()
    model = models.load("mnist/cnn").requires_grad_(False)
    images = data.load("mnist").test.sample(arguments.images, 0)
    given = {name: getattr(arguments, name) for name in ("steps", "searches", "queries")}
    changes = {name: value for name, value in given.items() if value is not None}
    print(f"{'attack':17}{'library':14}{'CPU s':>8}{'robust':>8}{'L0':>7}{'L1':>8}{'L2':>8}{'Linf':>8}  range")
    for attack, calls in adapters().items():
        if arguments.attacks and attack not in arguments.attacks:
            continue
        for library, call in calls.items():
            if arguments.libraries and library not in arguments.libraries:
                continue
            start = time.process_time()
            try:
                found = call(model, images.x, images.y, settings(attack, **changes))
            except Exception as error:
                print(f"{attack:17}{library:14} {type(error).__name__}: {error}", flush=True)
                continue
            spent = time.process_time() - start
            with torch.no_grad():
                robust = (model(found).argmax(1) == images.y).double().mean()
            delta = (found - images.x).flatten(1)
            norms = [delta.norm(p, dim=1).median() for p in (0, 1, 2, math.inf)]
            cells = "{:7.0f}{:8.3f}{:8.3f}{:8.4f}".format(*norms)
            print(
                f"{attack:17}{library:14}{spent:8.2f}{robust:8.2f}{cells}  {found.min():.3g} to {found.max():.9g}",
                flush=True,
            )


if __name__ == "__main__":
    main()
