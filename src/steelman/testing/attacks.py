"""What every attack must do, whoever wrote it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from steelman import norms
from steelman.attacks import Asks, Attack, AttackLike, Break, Entry, Finds, Last, Result, Worst
from steelman.attacks.catalogue import as_entry, catalogue
from steelman.errors import InputError
from steelman.losses import margin
from steelman.registry import takes
from steelman.testing.subjects import Network, drawn, holds
from steelman.threat import Threat

BALLS: Mapping[str, norms.Ball] = {
    "Linf": norms.Linf(0.12),
    "L2": norms.L2(0.35),
    "L1": norms.L1(0.8, share=0.2),
    "L0": norms.L0(3),
}
"""Balls of a radius at which images of a few pixels can hold and break."""


@dataclass(frozen=True, eq=False)
class _Trial:
    """An attack, and what it is tried on.  exact: whether it is held to what the engine does for its own."""

    attack: AttackLike
    shape: tuple[int, ...]
    exact: bool
    what: str

    def subject(self, n: int = 8, dtype: torch.dtype = torch.float64) -> tuple[Network, Tensor, Tensor, Tensor]:
        """A model, images, labels, and which of them are broken as they stand."""
        model = Network(self.shape, dtype=dtype)
        return model, *drawn(model, n, self.shape, dtype, targeted=self.attack.targeted)

    def reached(self, model: Network, x: Tensor, y: Tensor) -> Tensor:
        """(N,): the margin that a result has to say."""
        with torch.no_grad():
            return (-1 if self.attack.targeted else 1) * margin(model.eval()(x), y)

    def holds(self, true: object, sentence: str) -> None:
        holds(true, self.what, sentence)


def check_attack(
    attack: str | Entry | AttackLike | Callable[..., AttackLike],
    *,
    norms: Sequence[str] = (),
    quick: Mapping[str, Any] | None = None,
    shape: tuple[int, ...] = (1, 4, 3),
    exact: bool | None = None,
) -> None:
    """Tries whether an attack is one: a recipe under every norm that it has, targeted too if it can be.

    attack: a name of the catalogue, an `Entry`, a recipe (threat, **settings) -> attack, or an attack as it is.
    norms: of a recipe, to try; all that it has unless told.  quick: settings with which it is quick; those that a
    recipe does not take are left out.  shape: of the images, without the batch.
    exact: whether it also counts every pass, refuses bad images and logits, and takes `slots`, as all do that are made
    by the engine; those alone unless told.
    Raises AssertionError with a sentence for what does not hold, and InputError for what makes no attack.
    """
    for one in [attack] if isinstance(attack, AttackLike) else _made(attack, norms, quick or {}):
        what = f"{one.name} under {one.threat.ball.name}" + (", targeted" if one.targeted else "")
        trial = _Trial(one, shape, isinstance(one, Attack) if exact is None else exact, what)
        checks = (_protocol, _results, _untouched, _repeatable, _radii, _ungraded)
        with torch.random.fork_rng(devices=[]):
            for check in (*checks, _counted, _refusing) if trial.exact else checks:
                check(trial)


def _made(attack: str | Callable[..., Any], wanted: Sequence[str], quick: Mapping[str, Any]) -> Iterator[AttackLike]:
    entry = catalogue.get(attack) if isinstance(attack, str) else as_entry("the attack", attack)
    known = takes(entry.recipe)
    settings = {key: value for key, value in quick.items() if key in known}
    for targeted in (False, True) if entry.targeted else (False,):
        aim = {"targeted": targeted} if entry.targeted else {}
        if entry.finds is Finds.OUTSIDE:
            yield entry(**aim, **settings)
            continue
        for norm in wanted or entry.norms:
            ball = BALLS[norm].at(math.inf) if entry.finds is Finds.NEAREST else BALLS[norm]
            yield entry(Threat(ball), **aim, **settings)


def _protocol(trial: _Trial) -> None:
    """It says what it is."""
    attack = trial.attack
    trial.holds(isinstance(attack, AttackLike), "expected an AttackLike: build on steelman.attacks.Single")
    trial.holds(attack.name, "expected a name")
    trial.holds(isinstance(attack.asks, Asks), f"expected asks as one of Asks, got {attack.asks!r}")
    trial.holds(isinstance(attack.finds, Finds), f"expected finds as one of Finds, got {attack.finds!r}")
    trial.holds(attack.parts() and all(attack.parts()), "expected names of its parts")
    trial.holds(attack.cost(4) >= 0, "expected a cost >= 0")
    trial.holds(attack.key() == attack.key() and " at 0x" not in attack.key(), "expected a key that says its settings")
    trial.holds(" at 0x" not in repr(attack), "expected a repr without addresses")
    if attack.finds is not Finds.OUTSIDE:
        other = attack.at(attack.threat.eps / 2 if math.isfinite(_largest(attack)) else 1.0)
        trial.holds(other.key() != attack.key(), "expected another key at another radius")


def _results(trial: _Trial) -> None:
    """What it returns is inside the threat and is what it says."""
    for n, dtype in ((8, torch.float64), (3, torch.float32), (1, torch.float64)):
        model, x, y, natural = trial.subject(n, dtype)
        result = trial.attack(model, x, y, seed=3)
        atol = 1e-4 if dtype == torch.float32 else 1e-6
        trial.holds(result.x.shape == x.shape and result.x.dtype == dtype, "expected images as they came")
        trial.holds(bool(((result.x >= 0) & (result.x <= 1)).all()), "expected images in [0, 1]")
        if trial.attack.finds is not Finds.OUTSIDE:
            trial.holds(trial.attack.threat.holds(result.x, around=x).all(), "expected changes inside the threat")
        distance = trial.attack.threat.distance(result.x, around=x)
        said = result.distance.to(dtype)
        trial.holds(torch.allclose(said, distance, atol=atol), "expected the distances of its images")
        reached = trial.reached(model, result.x, y)
        trial.holds(torch.equal(result.broken, reached > 0), "expected broken to say what fools the model")
        trial.holds(torch.equal(result.natural, natural), "expected natural to say what fooled it before")
        if trial.exact:
            trial.holds(
                torch.allclose(result.margin.to(dtype), reached, atol=atol), "expected the margins of its images"
            )
        trial.holds(torch.equal(result.x[natural], x[natural]), "expected what is broken already back as it came")
        trial.holds(bool((result.by[natural] == -1).all()), "expected by to be -1 for what is broken already")


def _untouched(trial: _Trial) -> None:
    """Images, labels, model and torch's generator are as they were."""
    model, x, y, _ = trial.subject()
    model.train()
    model.layers[1].eval()
    model(x).sum().backward()
    before, state = (x.clone(), y.clone()), {key: value.clone() for key, value in model.state_dict().items()}
    grads = [parameter.grad.clone() for parameter in model.parameters() if parameter.grad is not None]
    modes, generator = [module.training for module in model.modules()], torch.random.get_rng_state()
    result = trial.attack(model, x, y)
    after = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
    trial.holds(torch.equal(x, before[0]) and torch.equal(y, before[1]), "expected images and labels left alone")
    trial.holds(result.x.data_ptr() != x.data_ptr() and not result.x.requires_grad, "expected images of its own")
    same = all(torch.equal(value, state[key]) for key, value in model.state_dict().items())
    trial.holds(same and all(map(torch.equal, after, grads)), "expected the model's weights and gradients left alone")
    trial.holds(all(parameter.requires_grad for parameter in model.parameters()), "expected weights that still learn")
    trial.holds([module.training for module in model.modules()] == modes, "expected the model's modes put back")
    trial.holds(torch.equal(torch.random.get_rng_state(), generator), "expected torch's generator left alone")


def _repeatable(trial: _Trial) -> None:
    """One seed gives one result, and no image's depends on the others, unless it learns from all."""
    model, x, y, _ = trial.subject()
    whole = trial.attack(model, x, y, seed=3)
    torch.manual_seed(99)
    again = trial.attack(model, x, y, seed=3)
    same = torch.equal(whole.x, again.x) and torch.equal(whole.forwards, again.forwards)
    trial.holds(same, "expected one seed to give one result")
    if trial.attack.learns_from_all:
        return
    for goal, rooms in ((Break(), (1,)), (Worst(), (1, 3))) if trial.exact else ((Last(), ()),):
        attack = trial.attack.with_goal(goal)
        whole = attack(model, x, y, seed=3)
        for slots in rooms:
            _same(trial, attack(model, x, y, seed=3, slots=slots), whole, "expected the same in any number of slots")
        order = torch.tensor([5, 0, 7, 2, 6, 1, 4, 3])
        for rows in order.split([1, 3, 4]):
            part = attack(model, x[rows], y[rows], seed=3, indices=rows)
            expected = Result(*(field[rows] for field in whole))
            _same(trial, part, expected, "expected an image's result to be the same in any batch and order")


def _same(trial: _Trial, one: Result, other: Result, sentence: str) -> None:
    """Equal up to the rounding of a matrix product, whose order of summation depends on the batch."""
    for name in ("x", "margin", "distance"):
        close = torch.allclose(getattr(one, name).double(), getattr(other, name).double(), rtol=1e-9, atol=1e-9)
        trial.holds(close, f"{sentence}, got another {name}")
    trial.holds(torch.equal(one.broken, other.broken), f"{sentence}, got others broken")


def _radii(trial: _Trial) -> None:
    """Without a radius nothing changes, and each image may have its own."""
    if trial.attack.finds is Finds.OUTSIDE:
        return
    model, x, y, natural = trial.subject()
    none = trial.attack.at(0.0)(model, x, y)
    trial.holds(torch.equal(none.x, x) and torch.equal(none.broken, natural), "expected no change at a radius of 0")
    if trial.attack.learns_from_all:
        return
    eps = BALLS[trial.attack.threat.ball.name].eps * torch.tensor([1.0, 0, 1, 2, 3, 0.5, 1, 0])
    own = trial.attack.at(eps)(model, x, y, seed=3)
    distance = trial.attack.threat.distance(own.x, around=x)
    trial.holds(bool((distance <= eps + 1e-6).all()), "expected each image inside the radius of its own")


def _ungraded(trial: _Trial) -> None:
    """It runs where gradients are switched off."""
    model, x, y, _ = trial.subject()
    expected = trial.attack(model, x, y).x
    for off in (torch.no_grad, torch.inference_mode):
        with off():
            trial.holds(torch.equal(trial.attack(model, x, y).x, expected), f"expected the same under {off.__name__}")


def _counted(trial: _Trial) -> None:
    """Every pass is counted, on the image that it was spent on."""
    model, x, y, _ = trial.subject()
    for goal in (Break(), Worst()):
        model.forwards = model.backwards = 0
        result = trial.attack.with_goal(goal)(model, x, y)
        counted = int(result.forwards.sum()), int(result.backwards.sum())
        made = model.forwards, model.backwards
        trial.holds(counted == made, f"expected every forward and backward pass counted, {made}, got {counted}")
        trial.holds(bool((result.forwards > 0).all()), "expected every image looked at")


def _refusing(trial: _Trial) -> None:
    """Bad images, labels and logits are refused in a sentence."""
    model, x, y, _ = trial.subject()
    spoilt: dict[str, Callable[[], object]] = {
        "images that are not finite": lambda: trial.attack(model, x * torch.nan, y),
        "images beyond [0, 1]": lambda: trial.attack(model, x + 1, y),
        "labels below 0": lambda: trial.attack(model, x, y - 4),
        "labels beyond the classes": lambda: trial.attack(model, x, y + 4),
        "labels that are no whole numbers": lambda: trial.attack(model, x, y.double()),
        "logits that are not finite": lambda: trial.attack(lambda x: model(x) * torch.nan, x, y),
    }
    for what, call in spoilt.items():
        try:
            call()
        except InputError:
            continue
        raise AssertionError(f"{trial.what}: expected an InputError for {what}")


def _largest(attack: AttackLike) -> float:
    eps = attack.threat.eps
    return float(eps.max()) if isinstance(eps, Tensor) else float(eps)
