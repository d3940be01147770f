"""Attacks one after another, each on what still holds; called as an attack is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from steelman.attacks.apgd import apgd
from steelman.attacks.attack import Attack
from steelman.attacks.attack_like import AttackLike, Result
from steelman.attacks.engine.estimators import Estimator
from steelman.attacks.engine.goals import Finds, Goal, Worst
from steelman.attacks.engine.problem import Asks, put, take
from steelman.attacks.steepest import pgd
from steelman.errors import InputError
from steelman.keys import key_of
from steelman.norms import Radius
from steelman.progress import OnProgress, Progress, takes_observe
from steelman.threat import Threat
from steelman.victim import Victim


@dataclass(frozen=True, kw_only=True)
class Cascade:
    """Several attacks of one threat as one: the worst case over them, sample by sample.

    An attack is made on what the ones before left whole; where their goal takes every step, on every sample.
    carried: whether an attack that starts at given images starts at the best ones of those before it.
    near: for each attack, which samples are worth it: those whose margin is at most this share of the clean image's
    away from breaking, 1 for all; all unless told. So the dear attacks at the end go to the few that are close.
    Raises InputError if there is no attack, one of another norm, or not as many shares as attacks.
    """

    name: str
    threat: Threat
    attacks: tuple[Attack, ...]
    carried: bool = False
    near: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if not self.attacks:
            raise InputError("expected at least one attack in a cascade, got none")
        norms = {attack.threat.ball.name for attack in self.attacks}
        if norms != {self.threat.ball.name}:
            raise InputError(f"expected attacks of {self.threat.ball.name} alone, got {', '.join(sorted(norms))}")
        if self.near and len(self.near) != len(self.attacks):
            raise InputError(f"expected near for each of {len(self.attacks)} attacks, got {len(self.near)}")

    @property
    def targeted(self) -> bool:
        """Whether the labels that it is called with are the classes to reach."""
        return self.attacks[0].targeted

    @property
    def asks(self) -> Asks:
        """The most that any of its attacks asks."""
        return next(one for one in Asks if any(attack.asks is one for attack in self.attacks))

    @property
    def finds(self) -> Finds:
        """What all of its attacks look for; any change within the radius where they differ."""
        found = {attack.finds for attack in self.attacks}
        return found.pop() if len(found) == 1 else Finds.WITHIN

    @property
    def leaves(self) -> bool:
        """No: what it lets go, for_random() takes up."""
        return False

    @property
    def learns_from_all(self) -> bool:
        """No: each image is attacked by itself."""
        return False

    def parts(self) -> tuple[str, ...]:
        """Returns the names of its attacks."""
        return tuple(attack.name for attack in self.attacks)

    def cost(self, classes: int) -> int:
        """Returns the sum of what its attacks cost."""
        return sum(attack.cost(classes) for attack in self.attacks)

    def key(self) -> str:
        """Returns its identity, in which all of its attacks stand."""
        return key_of(self)

    def without_gradients(self) -> tuple[AttackLike, ...]:
        """Returns those of its attacks that ask for no gradients."""
        return tuple(attack for attack in self.attacks if attack.asks is not Asks.GRADIENTS)

    def for_random(self) -> tuple[AttackLike, ...]:
        """Returns its first attacks, which are made on every image, and then Auto-PGD with every step taken.

        Of a random model an image that once seemed broken may hold on fresh draws. Without gradients it is itself.
        """
        if self.asks is not Asks.GRADIENTS:
            return (self,)
        shares = self.near or (1.0,) * len(self.attacks)
        first = tuple(attack for attack, share in zip(self.attacks, shares, strict=True) if share >= 1)
        core = replace(self, attacks=first or self.attacks[:1], near=())
        return core, apgd(self.threat).with_goal(Worst())

    def oblivious(self) -> AttackLike:
        """Returns PGD with every step taken: a cascade of gradients stops at what only just breaks the classifier."""
        return pgd(self.threat).with_goal(Worst()) if self.asks is Asks.GRADIENTS else self.with_goal(Worst())

    @takes_observe
    def __call__(
        self,
        model: Callable[[Tensor], Tensor],
        x: Tensor,
        y: Tensor,
        *,
        seed: int = 0,
        indices: Tensor | None = None,
        progress: OnProgress | None = None,
        **settings: Any,
    ) -> Result:
        """Returns the worst case of all attacks for each sample, `by` saying which attack broke it.

        Arguments and errors as of a single attack.
        """
        worst: Result | None = None
        clean: Tensor | None = None
        indices = torch.arange(len(x), device=x.device) if indices is None else indices.to(x.device)
        for at, attack in enumerate(self.attacks):
            if worst is None:
                ids = torch.arange(len(x), device=x.device)
            else:
                left = _left(worst, attack.goal)
                if self.near and self.near[at] < 1 and attack.goal.leaves:
                    if clean is None:
                        clean = self._clean(model, x, y, worst, settings)
                    left &= -worst.margin <= -self.near[at] * clean
                ids = left.nonzero().squeeze(1)
                if not len(ids):
                    continue
            told = None if progress is None else _relayed(progress, worst, len(ids), at, len(self.attacks))
            begun: dict[str, Any] = {
                key: value[ids] if isinstance(value, Tensor) else value for key, value in settings.items()
            }
            if worst is not None and self.carried:
                begun["begin"] = worst.x[ids]
            found = _on(attack, ids)(
                model, x[ids], y[ids], seed=seed + 7919 * at, indices=indices[ids], progress=told, **begun
            )
            found = found._replace(by=torch.where(found.by >= 0, at, -1))
            worst = found if worst is None else _joined(worst, found, ids, attack.goal)
        assert worst is not None
        return worst

    def _clean(
        self, model: Callable[[Tensor], Tensor], x: Tensor, y: Tensor, worst: Result, settings: dict[str, Any]
    ) -> Tensor:
        """The margins of the clean images that hold, one more pass of each; of the others zero."""
        margins = torch.zeros_like(worst.margin)
        rows = (~worst.broken).nonzero().squeeze(1)
        mode, seed = settings.get("mode", "eval"), settings.get("seed", 0)
        with Victim(model, mode=mode, targeted=self.targeted, seed=seed, device=x.device) as victim:
            for ids in rows.split(256) if len(rows) else ():
                before = victim.forwards
                logits = self.attacks[0].gradient.look(victim, x[ids], y[ids])
                margins[ids] = victim.margin(logits, y[ids]).to(margins)
                worst.forwards[ids] += (victim.forwards - before) // len(ids)
        return margins

    def at(self, eps: Radius) -> Cascade:
        """Returns the same cascade with another radius."""
        return replace(self, threat=self.threat.at(eps), attacks=tuple(attack.at(eps) for attack in self.attacks))

    def with_goal(self, goal: Goal) -> Cascade:
        """Returns the same cascade with another goal for every attack."""
        return replace(self, attacks=tuple(attack.with_goal(goal) for attack in self.attacks))

    def through(self, gradient: Estimator) -> Cascade:
        """Returns the same cascade, each of its attacks looking through an estimator unless it has its own."""
        return replace(self, attacks=tuple(attack.through(gradient) for attack in self.attacks))


def _left(worst: Result, goal: Goal) -> Tensor:
    return ~worst.broken if goal.leaves else torch.ones_like(worst.broken)


def _on(attack: Attack, ids: Tensor) -> Attack:
    """The attack of some of the samples, each with its own eps."""
    return replace(attack, threat=attack.threat.take(ids))


def _joined(worst: Result, found: Result, ids: Tensor, goal: Goal) -> Result:
    """What was found of some samples goes into what is known of all, where it is worse."""
    before = take(worst, ids)
    better = goal.better(found.margin, found.distance, before.margin, before.distance)
    spent = {"forwards": before.forwards + found.forwards, "backwards": before.backwards + found.backwards}
    merged = before._replace(**spent)
    put(merged, better, take(found._replace(natural=before.natural, **spent), better))
    put(worst, ids, merged)
    return worst


def _relayed(progress: OnProgress, worst: Result | None, left: int, at: int, of: int) -> OnProgress:
    """Tells of all samples, when attack `at` of several is on those left; done is measured in attacks."""
    total = left if worst is None else len(worst.broken)
    broken = 0 if worst is None else int(worst.broken.sum())

    def hear(now: Progress) -> None:
        through = (at + now.share) / of
        progress(Progress(round(through * total), total, broken=broken + now.broken))

    return hear
