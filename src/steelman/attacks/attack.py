"""An attack: a rule, what it may do, and what it ascends; called on a model and images."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor

from steelman.attacks.attack_like import Result, Single
from steelman.attacks.engine import loop
from steelman.attacks.engine.estimators import Estimator, exact
from steelman.attacks.engine.goals import Break, Finds, Goal, Nearest
from steelman.attacks.engine.guides import Guide, guide_of
from steelman.attacks.engine.oracle import Oracle, Tally
from steelman.attacks.engine.problem import Asks, Problem, Rule, put, take
from steelman.attacks.engine.slots import MEMORY, bounded, timed
from steelman.attacks.reprs import by_name
from steelman.attacks.settings import largest
from steelman.errors import InputError
from steelman.losses import Loss, cross_entropy
from steelman.precision import is_half
from steelman.progress import OnProgress, takes_observe
from steelman.streams import Streams
from steelman.threat import Threat
from steelman.victim import Mode, Victim, check


@dataclass(frozen=True, kw_only=True)
class Attack(Single):
    """A named attack; its repr is its record in a report, its key() its identity in a journal.

    rule: how a sample moves, or a search with a loop of its own.  loss: what is ascended, of (logits, y), or a guide.
    targeted: the labels that it is called with are the classes to reach.  restarts: attempts at a sample that holds.
    gradient: how the victim is asked.  goal: which candidate is kept.
    """

    name: str
    threat: Threat
    rule: Rule[Any] | loop.Search
    loss: Loss | Guide = cross_entropy
    targeted: bool = False
    restarts: int = 1
    gradient: Estimator = exact
    goal: Goal = field(default_factory=Break)

    __repr__ = by_name

    def __post_init__(self) -> None:
        steps = getattr(self.rule, "steps", 1)
        if self.restarts < 1 or steps < 1:
            raise InputError(f"expected at least 1 step and 1 restart, got {steps} and {self.restarts}")

    @property
    def asks(self) -> Asks:
        """What it asks of the model: what its rule does, and scores alone where its estimator makes do with them."""
        scores = self.rule.asks is Asks.GRADIENTS and not self.gradient.differentiates
        return Asks.SCORES if scores else self.rule.asks

    @property
    def finds(self) -> Finds:
        """What its goal says; outside every ball where any change will do and the radius is infinite."""
        return found_by(self.goal, self.threat)

    @property
    def leaves(self) -> bool:
        """Whether its goal lets a broken image go."""
        return self.goal.leaves

    def cost(self, classes: int) -> int:
        """Returns how many backward passes an image takes that never breaks, by its rule; 0 for a loop of its own."""
        if self.asks is not Asks.GRADIENTS or loop.own_loop(self.rule) is not None:
            return 0
        steps: int = getattr(self.rule, "steps", 1)
        return steps * self.restarts * guide_of(self.loss).targets(classes)

    @takes_observe
    def __call__(
        self,
        model: Callable[[Tensor], Tensor],
        x: Tensor,
        y: Tensor,
        *,
        seed: int = 0,
        indices: Tensor | None = None,
        begin: Tensor | None = None,
        truth: Tensor | None = None,
        slots: int | Literal["timed"] | None = None,
        memory: int = MEMORY,
        mode: Mode = "eval",
        precision: str = "fp32",
        progress: OnProgress | None = None,
    ) -> Result:
        """Returns what the attack found, on the device of x.

        x: (N, *S), floating point, in the threat's box.  y: (N,), int64 in [0, K).
        indices: (N,), the samples' places in their data set: they key the random streams; 0 … N-1 unless told.
        begin: (N, *S), where an attack that starts at_given images starts; the clean ones unless told.
        truth: (N,), the true labels beside the wanted ones of a targeted attack, which must differ from them.
        slots: samples in the model at once; unless told 128 on a CPU, 256 there in bf16, and 1,024 on a GPU. "timed"
        takes what is fastest for this model, which may change results by the rounding of other batches.
        memory: bytes that the model's activations may take; large images get fewer slots for it.
        mode: the mode the model is attacked in; it is put back afterwards.
        precision: "fp32", "bf16", or "auto", bf16 where the device multiplies it natively. What bf16 finds is judged in
        fp32, and a sample that only seemed broken is attacked again in fp32.
        Raises InputError for images outside the box or its grid, labels out of range, or a model that gives no finite
        logits.
        """
        check(x, y, low=self.threat.low, high=self.threat.high)
        _on_grid(x, self.threat)
        _wrong(y, truth)
        eps = self.threat.eps
        if isinstance(eps, Tensor) and eps.dim() and eps.shape != y.shape:
            raise InputError(f"expected one eps, or one for each of {len(y)} samples, got {len(eps)}")
        if indices is not None and (indices.shape != y.shape or indices.is_floating_point()):
            raise InputError(
                f"expected indices as {len(y)} integers, got {indices.dtype} of shape {tuple(indices.shape)}"
            )
        if begin is not None and begin.shape != x.shape:
            raise InputError(f"expected begin of shape {tuple(x.shape)}, as the images, got {tuple(begin.shape)}")
        if isinstance(slots, int) and slots < 1:
            raise InputError(f'expected slots >= 1 or "timed", got {slots!r}')
        half = is_half(precision, x.device) and self.goal != Nearest()
        with torch.inference_mode(False), torch.no_grad():
            indices = torch.arange(len(x), device=x.device) if indices is None else indices.to(x.device)
            labels = y.detach().to(x.device, torch.int64, copy=True)
            clean = x.detach().clone()
            start = clean if begin is None else begin.detach().to(clean, copy=True)
            nothing, first = clean.new_zeros(len(x), 0), torch.zeros_like(labels)
            streams = Streams.of(seed, indices)
            problem = Problem(clean, labels, self.threat, streams, start, nothing, first, self.targeted)
            make = partial(Victim, model, mode=mode, targeted=self.targeted, seed=seed, device=x.device)
            number = "bf16" if half else "fp32"
            room = slots if isinstance(slots, int) else 1024 if x.is_cuda else 256 if half else 128
            if not isinstance(slots, int):
                room = bounded(room, make(precision=number), clean, labels, memory)
            if slots == "timed":
                room = timed(make(precision=number), clean, labels, 4 * room)
            tally = self._run(make(precision=number), problem, room, progress).tally
            if half:
                tally = self._confirmed(tally, make, problem, room)
        broken = tally.margin > 0
        by = torch.where(broken & ~tally.natural, 0, -1)
        return Result(tally.x, broken, tally.natural, tally.margin, tally.distance, tally.forwards, tally.backwards, by)

    def _run(self, victim: Victim, problem: Problem, slots: int, progress: OnProgress | None) -> Oracle:
        with victim:
            oracle = self._oracle(victim, problem, slots)
            loop.run(self.rule, oracle, guide=guide_of(self.loss), restarts=self.restarts, progress=progress)
        return oracle

    def _oracle(self, victim: Victim, problem: Problem, slots: int) -> Oracle:
        own = loop.own_loop(self.rule)
        queries = None if own is None else own.queries
        return Oracle(victim, problem, goal=self.goal, estimator=self.gradient, slots=slots, queries=queries)

    def _confirmed(self, tally: Tally, make: Callable[[], Victim], problem: Problem, slots: int) -> Tally:
        """Judges in fp32; where the goal let a sample go that only seemed broken, it is attacked again in fp32."""
        seemed = tally.margin > 0
        with make() as victim:
            judge = self._oracle(victim, problem, slots)
            judge.tally = tally
            judge.judge_again(victim)
        again = (seemed & (tally.margin <= 0)).nonzero().squeeze(1)
        if self.goal.leaves and len(again):
            second = self._run(make(), take(problem, again), slots, None).tally
            spent = {
                "forwards": second.forwards + tally.forwards[again],
                "backwards": second.backwards + tally.backwards[again],
            }
            put(tally, again, second._replace(**spent))
        return tally

    def with_goal(self, goal: Goal) -> Attack:
        """Returns the same attack with another goal, as in Worst() or Last()."""
        return replace(self, goal=goal)

    def through(self, gradient: Estimator) -> Attack:
        """Returns the same attack looking through an estimator, as in averaged(10) for random models.

        One that has its own, as NES has, keeps it.
        """
        return replace(self, gradient=gradient) if self.gradient == exact else self


def found_by(goal: Goal, threat: Threat) -> Finds:
    """Returns what a goal looks for inside a threat; what no ball describes, if any change of any size will do."""
    return Finds.OUTSIDE if goal.finds is Finds.WITHIN and math.isinf(largest(threat.eps)) else goal.finds


def _on_grid(x: Tensor, threat: Threat) -> None:
    if threat.levels is None:
        return
    number = (x - threat.low) / (threat.high - threat.low) * (threat.levels - 1)
    off = float((number - number.round()).abs().max())
    if off > 1e-3:
        raise InputError(
            f"expected clean images on a grid of {threat.levels} levels, got values up to {off:.2g} of a level beside "
            "it: round them first, or leave levels out of the threat"
        )


def _wrong(y: Tensor, truth: Tensor | None) -> None:
    if truth is None:
        return
    if truth.shape != y.shape:
        raise InputError(f"expected {len(y)} true labels, one for each image, got shape {tuple(truth.shape)}")
    same = (truth.to(y.device) == y).nonzero().flatten()
    if len(same):
        raise InputError(
            f"expected targets that differ from the true labels, got {len(same)} of {len(y)} that are the same, the "
            f"first at image {int(same[0])}: leave these images out or choose another target"
        )
