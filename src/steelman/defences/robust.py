"""Purifiers that hold when the attacker knows them: they read what withstands, and draw it anew."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from steelman.defences import input_checks
from steelman.errors import InputError, unknown
from steelman.models.ramped import POOLED, RampCNN, RampResNet

JUDGES = ("resnet", "cnn")


class RobustAutoencoder(nn.Module):
    """Ours: draws an image anew from what a network trained under attack sees in it, (N, channels, side, side).

    The network, `judge`, reads the class; the image is drawn from the softmax of that and from `style` numbers in
    [-1, 1], which say how it is written or cut. An attack through a classifier behind it has to turn the judge, or to
    find a style that the classifier misclassifies: it is trained against both. Nothing in it is random, and its
    gradient is exact everywhere but at the ends of the ramp.

    side: a multiple of 4.  judge: "resnet", to be attacked while it learns, or "cnn", whose bounds can be trained too.
    width, hidden, depth: of the judge, depth of a "cnn" alone.  style: numbers besides the class.
    paint: width of the decoder.
    Raises InputError for another side, and for a judge that is none.
    """

    def __init__(
        self,
        channels: int = 1,
        classes: int = 10,
        side: int = 28,
        judge: str = "resnet",
        width: int = 24,
        hidden: int = 64,
        depth: int = 0,
        style: int = 24,
        paint: int = 16,
    ) -> None:
        super().__init__()
        self.settings = {name: value for name, value in locals().items() if name not in ("self", "__class__")}
        self.channels, self.side = channels, side
        if judge not in JUDGES:
            raise unknown("judge", str(judge), JUDGES)
        self.judge: RampResNet | RampCNN = (
            RampResNet(channels, classes, width, hidden)
            if judge == "resnet"
            else RampCNN(channels, classes, width, hidden, depth)
        )
        if not isinstance(side, int) or side < 4 or side % 4:
            raise InputError(f"expected side as a multiple of 4, got {side!r}: use models.Resized(purifier, 28)")
        quarter = side // 4
        self.style = nn.Sequential(
            nn.Conv2d(2 * width, 8, 1), nn.ReLU(), nn.Flatten(), nn.Linear(8 * POOLED**2, style), nn.Tanh()
        )
        self.paint = nn.Sequential(
            nn.Linear(classes + style, paint * quarter**2),
            nn.ReLU(),
            nn.Unflatten(1, (paint, quarter, quarter)),
            nn.ConvTranspose2d(paint, paint, 4, stride=2, padding=1),
            nn.ReLU(),
            nn.ConvTranspose2d(paint, channels, 4, stride=2, padding=1),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.read(x)[0]

    def read(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Returns (drawn, logits): images anew, as they came, and what the judge read, (N, classes)."""
        input_checks.check(self, x, self.channels, self.side)
        seen = self.judge.seen(x)
        logits = self.judge.head(self.judge.think(seen))
        told = torch.cat([logits.softmax(1), self.style(seen)], dim=1)
        return torch.sigmoid(self.paint(told).to(x.dtype)), logits


class CertifiedAutoencoder(nn.Module):
    """Ours: draws the clearest example of the class that an image provably shows, (N, channels, side, side).

    The network, `judge`, is trained on its own bounds. A class is drawn whole once it leads every other by `lead` of
    the judge's logits; so where that is proved for every image of a ball, the drawing is the same over the whole ball
    but for a trace, and any classifier that classifies its few drawings correctly is certified on that ball, however
    fragile it is otherwise. Where classes are closer, what is drawn is paler, down to nothing.

    The trace is `trace` of the judge's own reading: too little for an eye, and for a classifier before which the
    drawings were made steady (`training.certify_prototypes`); enough that a loss rises along its gradient everywhere. A
    defence should not owe anything to an attacker who finds none.

    width, hidden, depth: of the judge.  lead, trace: as above.
    Raises InputError for a setting out of its range.
    """

    examples: Tensor

    def __init__(
        self,
        channels: int = 1,
        classes: int = 10,
        side: int = 28,
        width: int = 16,
        hidden: int = 100,
        depth: int = 0,
        lead: float = 0.1,
        trace: float = 1.2e-3,
    ) -> None:
        super().__init__()
        self.settings = {name: value for name, value in locals().items() if name not in ("self", "__class__")}
        if not lead > 0 or not 0 < trace <= 1e-2:
            raise InputError(f"expected lead > 0 and trace in (0, .01], got {lead!r} and {trace!r}")
        self.channels, self.side, self.classes = channels, side, classes
        self.lead, self.trace = lead, trace
        self.judge = RampCNN(channels, classes, width, hidden, depth)
        self.register_buffer("examples", torch.full((classes, channels, side, side), 0.5))

    def forward(self, x: Tensor) -> Tensor:
        input_checks.check(self, x, self.channels, self.side)
        thought = self.judge.think(self.judge.seen(x))
        head = self.judge.head
        # each class less each other, as one layer: its bounds are those of the differences themselves
        weight = (head.weight[:, None] - head.weight).flatten(0, 1) / self.lead
        bias = (head.bias[:, None] - head.bias).flatten() / self.lead
        ahead = F.linear(thought, weight, bias)
        behind = F.relu(1 - ahead).unflatten(1, (self.classes, self.classes)).sum(2) - 1  # less the class itself
        told = F.relu(1 - behind) * (1 - 2 * self.trace)
        trace = (1 + torch.tanh(head(thought) / _SOFT)) * (self.trace / self.classes)
        return drawn((told + trace).to(x.dtype), self.examples)

    def sure(self) -> tuple[Tensor, float]:
        """Returns what is told of each class where it is sure, (K, K), and by how much the trace can change that."""
        among = torch.eye(self.classes, device=self.examples.device)
        return among * (1 - 2 * self.trace) + self.trace / self.classes, self.trace / self.classes

    def backward_approximations(self) -> dict[str, nn.Module]:
        """Returns what an attacker differentiates in its place: a drawing by shares, flat nowhere, and what is read."""
        return {"shares": _Shares(self), "its judge": self.judge}

    def learn(self, x: Tensor, y: Tensor, clear: Tensor) -> None:
        """Takes the clearest image of each class as what is drawn of it.

        x: (N, channels, side, side), y: (N,).  clear: (N,), by how much each is classified correctly, below 0 where it
        is not.
        Raises InputError if a class has no image that is classified correctly.
        """
        for label in range(self.classes):
            own = (y == label).nonzero()[:, 0]
            if not len(own) or not float(clear[own].max()) > 0:
                raise InputError(
                    f"expected an image of class {label} that is classified correctly, found none in {len(own)}"
                )
            self.examples[label] = x[own[clear[own].argmax()]]


def drawn(told: Tensor, examples: Tensor) -> Tensor:
    """Returns images, (N, *S), each the sum of examples, (K, *S), by what is told of each, (N, K)."""
    return (told @ examples.flatten(1)).view(len(told), *examples.shape[1:])


class _Shares(nn.Module):
    """Draws every class by the softmax of the judge's logits."""

    def __init__(self, whole: CertifiedAutoencoder) -> None:
        super().__init__()
        self.whole = whole

    def forward(self, x: Tensor) -> Tensor:
        return drawn(self.whole.judge(x).softmax(1).to(x.dtype), self.whole.examples)


_SOFT = 30.0
"""Logits over which the trace is nearly even: beyond, tanh would flatten and its gradient be lost to rounding."""
