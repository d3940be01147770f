"""Transfer: attacks crafted on one model and judged on another."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from steelman.attacks.attack import Attack
from steelman.attacks.attack_like import AttackLike
from steelman.attacks.engine.goals import Goal, Worst
from steelman.attacks.engine.oracle import Oracle
from steelman.attacks.engine.problem import Asks, Problem
from steelman.errors import InputError
from steelman.victim import Victim


@dataclass(frozen=True, kw_only=True, repr=False)
class Crafted:
    """Shows the victim what an attack made on a surrogate of it, one candidate for each sample.

    called: the surrogate's name in the record.
    """

    attack: AttackLike
    surrogate: Callable[[Tensor], Tensor]
    called: str

    asks: ClassVar[Asks] = Asks.NOTHING
    queries: ClassVar[None] = None

    def __repr__(self) -> str:
        return f"Crafted(attack={self.attack!r}, surrogate={self.called!r})"

    def search(self, oracle: Oracle, tell: Callable[[], None]) -> None:
        """Crafts on the surrogate, each sample with random streams of its own, and looks once.

        Raises InputError for a surrogate of other images or classes than the victim's.
        """
        problem = oracle.problem
        self._fitting(problem, oracle.victim.device)
        found = self.attack.at(problem.threat.eps)(
            self.surrogate,
            problem.x,
            problem.y,
            indices=problem.streams.derive("surrogate").key,
            begin=problem.begin,
        )
        oracle.look(torch.arange(len(problem.x), device=problem.x.device), found.x)
        tell()

    def _fitting(self, problem: Problem, device: torch.device) -> None:
        one = problem.x[:1]
        try:
            with Victim(self.surrogate, device=device) as victim:
                logits = victim.logits(one, torch.zeros_like(problem.y[:1]))
        except InputError:
            raise
        except (RuntimeError, ValueError) as error:
            raise InputError(
                f"expected a surrogate that takes images of shape {tuple(one.shape[1:])}, as the model under attack "
                f"does, got {self.called}, which says: {str(error).splitlines()[0]}"
            ) from error
        here, there = problem.logits.shape[1], logits.shape[1]
        if here != there:
            raise InputError(
                f"expected a surrogate with the {here} classes of the model under attack, got {self.called} with "
                f"{there}: take one that was trained on the same classes"
            )


def transfer(
    attack: AttackLike,
    surrogate: Callable[[Tensor], Tensor],
    *,
    goal: Goal | None = None,
    called: str | None = None,
) -> Attack:
    """Returns an attack that is made on a surrogate, where gradients are known, and then shown to the model.

    It costs the model two looks, and these alone are counted; the verdict is the model's. A sample that the crafted
    image does not bring nearer to breaking keeps the clean one; with_goal(Last()) keeps all that was crafted.
    surrogate: any model of the same images and classes.  called: its name in the record, its type's unless told.
    goal: of crafting; unless told Worst(), which goes on after the surrogate is fooled: what only just fools it fools
    few others.
    Raises InputError for anything but an attack on each image; when called, for a surrogate of other images or classes.
    Source: Papernot et al. 2016 (Transferability in machine learning); that a larger margin transfers better is Liu
    et al. 2017 (Delving into transferable adversarial examples), section 4.
    """
    if not isinstance(attack, AttackLike) or attack.learns_from_all:
        raise InputError(f"expected an attack to craft with, as in transfer(pgd(Linf(.1)), model), got {attack!r}")
    if not callable(surrogate):
        raise InputError(f"expected a model as the surrogate, got {surrogate!r}: load it first, as in models.load(...)")
    own = str(getattr(surrogate, "__name__", type(surrogate).__name__))
    rule = Crafted(attack=attack.with_goal(goal or Worst()), surrogate=surrogate, called=called or own)
    return Attack(name=f"transfer-{attack.name}", threat=attack.threat, rule=rule, targeted=attack.targeted)
