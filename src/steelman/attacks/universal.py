"""Universal perturbations: one change that is learnt on a set of images and fools a model on most of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from steelman.attacks.engine.guides import relevant
from steelman.attacks.engine.oracle import Oracle
from steelman.attacks.engine.problem import Problem, take
from steelman.attacks.learnt import Universal, in_order
from steelman.attacks.settings import count, inside, positive, share
from steelman.losses import cross_entropy
from steelman.norms import Ball
from steelman.threat import Threat


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
