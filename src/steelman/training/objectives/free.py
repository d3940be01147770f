"""Free adversarial training: one backward pass serves the weights and the perturbation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from steelman.attacks import AttackLike, Worst, fgsm, pgd
from steelman.attacks.settings import count, inside
from steelman.errors import InputError
from steelman.norms import Ball
from steelman.threat import Threat
from steelman.training.checkpoint import Epoch, Examples
from steelman.training.objectives.classify import Classify
from steelman.training.objectives.collapse import collapsed
from steelman.training.objectives.fast import rising
from steelman.training.objectives.opponent import searching, withstood


@dataclass(frozen=True, kw_only=True)
class Free:
    """Cross-entropy on each batch several times running, perturbed; judged by an attack of many steps, clean, by FGSM.

    The backward pass of every step also moves the perturbation, by one step of eps; it is carried on to the next
    batch, place by place. A batch stays as it was augmented. The gradient is that at the image as the model reads it,
    after the box, so that a pixel that the box stops is not stuck there.

    threat: that is to be withstood.  val: the attack that validates.  replays: how often running a batch is shown.
    ramp: the share of the training over which eps rises evenly from 0.  classify: the augmentation before it.
    Raises InputError for replays that are none, or a ramp that is no share.
    """

    threat: Threat
    val: AttackLike
    replays: int = 8
    ramp: float = 0.0
    classify: Classify = field(default_factory=Classify)
    _carried: dict[str, Tensor] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        count(self.replays, "replays")
        if not 0 <= self.ramp <= 1:
            raise InputError(f"expected ramp as a share in [0, 1], got {self.ramp!r}")

    @property
    def repeats(self) -> int:
        """How often running a batch is to be shown."""
        return self.replays

    def carried(self) -> dict[str, Tensor]:
        """Returns a copy of what is carried from step to step."""
        return {name: tensor.clone() for name, tensor in self._carried.items()}

    def carry(self, state: Mapping[str, Tensor]) -> None:
        """Sets what is carried from step to step; nothing is how a training begins."""
        self._carried.clear()
        self._carried.update(state)

    def loss(self, model: nn.Module, batch: tuple[Tensor, ...], done: float = 1.0) -> Tensor:
        """Returns the mean loss of (x, y), perturbed; its backward pass moves the perturbation."""
        x, y = self._shown(batch[0]), batch[1]
        threat = self.threat.at(self.threat.eps * rising(self.ramp, done))
        delta = self._perturbation(x)
        read = (x + delta).clamp(threat.low, threat.high).requires_grad_()

        def move(grad: Tensor) -> None:
            step = threat.eps * threat.steepest(grad, at=read.detach())
            delta.copy_(threat.ball.project(delta + step))

        read.register_hook(move)
        return self.classify.reading(model, read, y)

    def validate(self, model: nn.Module, validation: Examples) -> Mapping[str, float]:
        """Returns the accuracy under the validation attack, on clean images, and under FGSM."""
        device = next(model.parameters()).device
        x, y = (part.to(device) for part in validation.batch(torch.arange(len(validation))))
        step = fgsm(self.threat).with_goal(Worst())
        return {
            **withstood(model, self.val, validation),
            self._step: step(model, x, y, precision=searching(x)).accuracy,
        }

    def warning(self, history: Sequence[Epoch]) -> str | None:
        """Returns what to say if the last epoch is the first that overfitted catastrophically, else None."""
        return collapsed(history, f"{self.val.name} {self.val.threat.eps:g}", self._step)

    @property
    def _step(self) -> str:
        return f"fgsm {self.threat.eps:g}"

    def _shown(self, x: Tensor) -> Tensor:
        """The batch as it was augmented when it was first shown."""
        kept, turn = self._carried, int(self._carried.get("turn", torch.zeros(())))
        if turn == 0 or not torch.equal(kept["given"], x):
            kept["given"], kept["shown"], turn = x, self.classify.augmented(x), 0
        kept["turn"] = torch.tensor((turn + 1) % self.replays)
        return kept["shown"]

    def _perturbation(self, x: Tensor) -> Tensor:
        """The places of the carried perturbation that a batch takes; zero where none was before."""
        delta = self._carried.get("delta", x.new_zeros(0, *x.shape[1:]))
        if len(delta) < len(x):
            delta = torch.cat([delta, x.new_zeros(len(x) - len(delta), *x.shape[1:])])
            self._carried["delta"] = delta
        return delta[: len(x)]


def free(threat: Threat | Ball, *, replays: int = 8, ramp: float = 0.0, classify: Classify | None = None) -> Free:
    """Returns Free adversarial training; judged by 40 steps of PGD.

    replays: of each batch, 8 unless told, the paper's m for CIFAR-10. A training has as many steps as one on labels, so
    that all images are seen once in so many epochs: give it several times as many epochs as replays.
    ramp, classify: as `Free` has them.
    Raises InputError for settings that are none, or a norm without a steepest move.
    Source: Shafahi et al. 2019, algorithm 1; the ramp is ours, and so are other balls than Linf.
    """
    threat = inside(threat, "free", "Linf", "L2", "L1")
    return Free(threat=threat, val=pgd(threat), replays=replays, ramp=ramp, classify=classify or Classify())
