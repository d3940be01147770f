"""Universal perturbations: one change that is learnt on a set of images and fools a model on most of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor

from steelman.attacks.attack import Attack, Result
from steelman.attacks.engine import Observer
from steelman.attacks.goals import Break, Goal, Worst
from steelman.attacks.gradients import Estimator, exact
from steelman.attacks.guides import relevant
from steelman.attacks.oracle import Oracle
from steelman.attacks.problem import Problem, take
from steelman.attacks.settings import count, inside, positive, share
from steelman.errors import InputError
from steelman.losses import cross_entropy
from steelman.norms import Ball, Radius
from steelman.streams import Streams
from steelman.threat import Threat
from steelman.victim import Mode, Victim, check


class Learner(Protocol):
    """What learns one change from the samples of an oracle, and shows it on any."""

    def learn(self, oracle: Oracle) -> Tensor:
        """Returns the change; every look at the model goes through the oracle, which counts it."""
        ...

    def shown(self, change: Tensor, problem: Problem) -> Tensor:
        """Returns (N, *S): the samples of a problem under the change."""
        ...


@dataclass(frozen=True, kw_only=True, repr=False)
class Changed:
    """Shows every sample under one change that was learnt before."""

    learner: Learner
    change: Tensor

    queries: ClassVar[None] = None

    def __repr__(self) -> str:
        return f"Changed(learner={self.learner!r}, change={tuple(self.change.shape)})"

    def search(self, oracle: Oracle, tell: Callable[[], None]) -> None:
        """Looks once."""
        rows = torch.arange(len(oracle.problem.x), device=oracle.problem.x.device)
        oracle.look(rows, self.learner.shown(self.change, oracle.problem))
        tell()


@dataclass(frozen=True, kw_only=True)
class Universal:
    """An attack that learns one change from all images of a call and shows it on each; called as an attack is.

    Images that are broken as they stand teach nothing, unless all are.
    What it finds for an image depends on the others of the call, by definition, though not on their order. `learnt` and
    `showing` take the two halves apart, to learn on some images and judge on others.
    """

    name: str
    threat: Threat
    learner: Learner
    targeted: bool = False
    gradient: Estimator = exact
    goal: Goal = field(default_factory=Break)

    def __call__(
        self,
        model: Callable[[Tensor], Tensor],
        x: Tensor,
        y: Tensor,
        *,
        seed: int = 0,
        indices: Tensor | None = None,
        slots: int | None = None,
        mode: Mode = "eval",
        observe: Observer | None = None,
        **settings: Any,
    ) -> Result:
        """Returns what the change that is learnt on these images does to them; the cost of learning is in it.

        Arguments and errors as of a single attack; and InputError for an eps of each sample's own.
        """
        change, forwards, backwards = self._learn(model, x, y, seed, indices, slots, mode)
        judge = self.showing(change)
        found = judge(model, x, y, seed=seed, indices=indices, slots=slots, mode=mode, observe=observe, **settings)
        return found._replace(forwards=found.forwards + forwards, backwards=found.backwards + backwards)

    def learnt(
        self,
        model: Callable[[Tensor], Tensor],
        x: Tensor,
        y: Tensor,
        *,
        seed: int = 0,
        indices: Tensor | None = None,
        slots: int | None = None,
        mode: Mode = "eval",
    ) -> Tensor:
        """Returns the change alone, (*S) for a perturbation and (C, side, side) for a patch, learnt on these images.

        Arguments and errors as of a call.
        """
        return self._learn(model, x, y, seed, indices, slots, mode)[0]

    def showing(self, change: Tensor) -> Attack:
        """Returns the attack that shows a change learnt before, on images that it was not learnt on too."""
        rule = Changed(learner=self.learner, change=change)
        return Attack(
            name=self.name,
            threat=self.threat,
            rule=rule,
            targeted=self.targeted,
            gradient=self.gradient,
            goal=self.goal,
        )

    def at(self, eps: Radius) -> Universal:
        """Returns the same attack with another radius."""
        return replace(self, threat=self.threat.at(eps))

    def with_goal(self, goal: Goal) -> Universal:
        """Returns the same attack with another goal: whether Last() shows the change on images misread clean too."""
        return replace(self, goal=goal)

    def through(self, gradient: Estimator) -> Universal:
        """Returns the same attack looking through another estimator, as in averaged(10) for random models."""
        return replace(self, gradient=gradient)

    def _learn(
        self,
        model: Callable[[Tensor], Tensor],
        x: Tensor,
        y: Tensor,
        seed: int,
        indices: Tensor | None,
        slots: int | None,
        mode: Mode,
    ) -> tuple[Tensor, Tensor, Tensor]:
        check(x, y, low=self.threat.low, high=self.threat.high)
        eps = self.threat.eps
        if isinstance(eps, Tensor) and eps.dim():
            raise InputError(f"expected one eps for {self.name}, as all images share one change, got {len(eps)}")
        indices = torch.arange(len(x), device=x.device) if indices is None else indices.to(x.device)
        with torch.inference_mode(False), torch.no_grad():
            clean, labels = x.detach().clone(), y.detach().to(x.device, torch.int64, copy=True)
            streams, first = Streams.of(seed, indices), torch.zeros_like(labels)
            nothing = clean.new_zeros(len(x), 0)
            problem = Problem(clean, labels, self.threat, streams, clean, nothing, first, self.targeted)
            with Victim(model, mode=mode, targeted=self.targeted, seed=seed, device=x.device) as victim:
                room = slots or (1024 if x.is_cuda else 128)
                oracle = Oracle(victim, problem, goal=Worst(), estimator=self.gradient, slots=room)
                oracle.look_at_clean()
                holds = (~oracle.tally.natural).nonzero().squeeze(1)
                rows = holds if len(holds) else torch.arange(len(x), device=x.device)
                part = oracle.part(rows)
                change = self.learner.learn(part)
                oracle.merge(rows, part)
        return change, oracle.tally.forwards, oracle.tally.backwards


@dataclass(frozen=True, kw_only=True)
class ByDeepFool:
    """Adds up the smallest changes that break the images which still hold, one image after another.

    passes: over the images, at most.  enough: the share of broken images to stop at.
    steps, overshoot, classes: of DeepFool on one image.
    """

    passes: int
    enough: float
    steps: int
    overshoot: float
    classes: int

    def learn(self, oracle: Oracle) -> Tensor:
        """Returns (*S): the perturbation."""
        problem = oracle.problem
        delta = torch.zeros_like(problem.x[:1])
        for turn in range(self.passes):
            order = in_order(problem, turn)
            shown = problem.threat.project(problem.x[order] + delta, around=problem.x[order])
            broken = oracle.breaks(order, shown)
            if float(broken.double().mean()) >= self.enough:
                break
            for row in order[~broken].split(1):
                own = take(problem, row)
                delta = own.threat.ball.project(delta + self._smallest(oracle, row, own, delta))
        return delta[0]

    def _smallest(self, oracle: Oracle, row: Tensor, own: Problem, delta: Tensor) -> Tensor:
        """The change, (1, *S), that breaks one image beside delta; zero if none was found."""
        begin = (own.x + delta).clamp(own.threat.low, own.threat.high)
        total = torch.zeros_like(delta)
        for step in range(self.steps + 1):
            at = (begin + total).clamp(own.threat.low, own.threat.high)
            logits, value, grad = oracle.answer(row, own, at, torch.full_like(row, step), self._gaps(own))
            if bool(oracle.victim.margin(logits, own.y) > 0):
                return total
            if step == self.steps:
                break
            # Where the box stops a pixel, DeepFool's step would be lost, and with it its few steps.
            low, high, here = own.threat.low, own.threat.high, at[:, None]
            grad = grad.masked_fill(((here <= low) & (grad < 0)) | ((here >= high) & (grad > 0)), 0)
            length = grad.flatten(2).norm(dim=2)
            far = torch.where(length > 0, value.abs() / length, torch.inf)
            nearest = int(far.argmin())
            if not bool(far[0, nearest].isfinite()):
                break
            way = grad[:, nearest] / length[0, nearest]
            total = total + (1 + self.overshoot) * (far[0, nearest] + 1e-4) * way
        return torch.zeros_like(delta)

    def _gaps(self, own: Problem) -> Callable[[Tensor], Tensor]:
        """How far the nearest other classes are in front of the label, (1, C)."""

        def gaps(logits: Tensor) -> Tensor:
            others = relevant(own, logits.detach(), self.classes - 1)
            return logits.gather(1, others) - logits.gather(1, own.y[:, None])

        return gaps

    def shown(self, change: Tensor, problem: Problem) -> Tensor:
        """Returns (N, *S): the images with the perturbation added, inside the threat."""
        return problem.threat.project(problem.x + change, around=problem.x)


@dataclass(frozen=True, kw_only=True)
class ByAscent:
    """Ascends a clipped loss over mini-batches of images.

    epochs: over the images.  batch: how many of them share a step.  size: of the first step, as a share of eps; the
    steps shrink to nothing.  clip: the loss beyond which an image counts no more.
    """

    epochs: int
    batch: int
    size: float
    clip: float

    def learn(self, oracle: Oracle) -> Tensor:
        """Returns (*S): the perturbation."""
        problem, k = oracle.problem, 0
        threat, delta = problem.threat, torch.zeros_like(problem.x[:1])
        batches = -(-len(problem.x) // self.batch) * self.epochs
        for epoch in range(self.epochs):
            for rows in in_order(problem, epoch).split(self.batch):
                grad = self._gradient(oracle, rows, delta, k)
                length = self.size * float(threat.eps) * (1 - k / batches)
                delta = threat.ball.project(delta + length * threat.ball.steepest(grad))
                k += 1
        return delta[0]

    def _gradient(self, oracle: Oracle, rows: Tensor, delta: Tensor, k: int) -> Tensor:
        """(1, *S): of the mean loss; pixels that the box stops have none."""
        total = torch.zeros_like(delta)
        for part in rows.split(oracle.slots):
            own = take(oracle.problem, part)
            free, low, high = own.x + delta, own.threat.low, own.threat.high

            def ascend(logits: Tensor, own: Problem = own) -> Tensor:
                return own.sign * cross_entropy(logits, own.y).clamp(max=self.clip)

            _, _, grad = oracle.answer(part, own, free.clamp(low, high), torch.full_like(part, k), ascend)
            total += torch.where((free >= low) & (free <= high), grad, 0).sum(0, keepdim=True)
        return total / len(rows)

    def shown(self, change: Tensor, problem: Problem) -> Tensor:
        """Returns (N, *S): the images with the perturbation added, inside the threat."""
        return problem.threat.project(problem.x + change, around=problem.x)


def in_order(problem: Problem, turn: int) -> Tensor:
    """Returns (N,), int64: the samples in an order that their own streams draw, however they came."""
    drawn = problem.streams.derive("order").derive(turn).bits(1).squeeze(1)
    return drawn.argsort()


def universal(
    threat: Threat | Ball,
    *,
    passes: int = 10,
    enough: float = 0.8,
    steps: int = 10,
    overshoot: float = 0.02,
    classes: int = 10,
) -> Universal:
    """Returns the universal adversarial perturbation: DeepFool's changes of single images, added up inside the ball.

    passes: over the images, at most.  enough: the share of broken images to stop at, 1 - delta in the paper.
    steps, overshoot, classes: of DeepFool (always in L2) on one image. An image that holds at the beginning of a pass
    is visited in it; the paper looks at each again. It goes by labels, the paper by what the model said.
    Source: Moosavi-Dezfooli et al. 2017, algorithm 1; the numbers are those of its code, passes but for a bound.
    """
    return Universal(
        name="universal",
        threat=inside(threat, "universal", "Linf", "L2"),
        learner=ByDeepFool(
            passes=count(passes, "passes"),
            enough=share(enough, "enough"),
            steps=count(steps),
            overshoot=positive(overshoot, "overshoot"),
            classes=count(classes, "classes", least=2),
        ),
    )


def sgd_uap(
    threat: Threat | Ball,
    *,
    epochs: int = 20,
    batch: int = 64,
    size: float = 0.5,
    clip: float = 9.0,
    targeted: bool = False,
) -> Universal:
    """Returns the universal perturbation by steepest ascent of the mean loss over mini-batches: stronger and faster.

    epochs: over the images.  batch: how many of them share a step.  size: of the first step, as a share of eps; the
    steps shrink to nothing.  clip: the cross-entropy beyond which an image counts no more, so that none outweighs all.
    Source: Shafahi et al. 2020 (Universal adversarial training), algorithm 1 and section 3.2; size and epochs our own.
    """
    return Universal(
        name="sgd-uap",
        threat=inside(threat, "sgd-uap", "Linf", "L2"),
        learner=ByAscent(
            epochs=count(epochs, "epochs"),
            batch=count(batch, "batch"),
            size=positive(size, "size"),
            clip=positive(clip, "clip"),
        ),
        targeted=targeted,
    )
