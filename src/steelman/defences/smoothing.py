"""Randomised smoothing: a classifier averaged over Gaussian noise, whose answer no small change can move."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from scipy.special import betainc, betaincinv, ndtri
from torch import Tensor, nn

from steelman.errors import InputError
from steelman.progress import OnProgress, Progress
from steelman.streams import Streams

ABSTAINED = -1
"""The class of an image of which nothing can be said with the confidence asked for."""

"""Hears (done, of) in noisy copies."""


class Certificate(NamedTuple):
    """What is certain of each image: no change shorter than its radius makes the smoothed classifier answer otherwise.

    Each image is wrong about that with a chance of at most alpha.

    classes: (N,), int64, ABSTAINED where nothing is certain.  radius: (N,), float64, L2, 0 where it abstained.
    lower: (N,), float64, the lower bound for the share of noisy copies that are classified as the class chosen first.
    """

    classes: Tensor
    radius: Tensor
    lower: Tensor

    def holds(self, y: Tensor, radius: float) -> Tensor:
        """Returns (N,) bool: which images are certain to be classified as y within this radius."""
        return (self.classes == y.to(self.classes.device)) & (self.radius >= radius)


class Smoothed(nn.Module):
    """A classifier that answers what another says most often of noisy copies of an image.

    As a module, (N, *S) to (N, K), it gives the logarithm of the other's mean probabilities over `draws` copies, which
    is what an attacker differentiates; `predict` and `certify` vote, as the paper does. A copy's noise is keyed by the
    seed, the image's index and its own number, so that no batch changes a certificate.

    model: images (N, *S) to logits (N, K); noisy images leave [0, 1].  sigma: of the noise, in units of the images.
    clip: hand it the copies clipped to [0, 1], as a purifier in front wants them. The certificate is then that of the
    classifier that clips, and as sound.
    Raises InputError for a sigma or a number of draws that is none.
    Source: Cohen et al. 2019 (Certified Adversarial Robustness via Randomized Smoothing); the mean that is
    differentiated: Salman et al. 2019 (Provably Robust Deep Learning via Adversarially Trained Smoothed Classifiers),
    eq. 5.
    """

    def __init__(self, model: nn.Module, sigma: float, *, draws: int = 16, clip: bool = False) -> None:
        super().__init__()
        if not (isinstance(sigma, int | float) and math.isfinite(sigma) and sigma > 0):
            raise InputError(f"expected sigma as a standard deviation > 0, got {sigma!r}: say sigma=0.25")
        _check_count("draws", draws)
        self.settings = {"sigma": sigma, "draws": draws, "clip": clip}
        self.model = model
        self.sigma = float(sigma)
        self.draws = draws
        self.clip = clip

    def forward(self, x: Tensor) -> Tensor:
        copies = x.repeat_interleave(self.draws, dim=0)
        logits = self._read(copies, torch.randn_like(copies)).unflatten(0, (len(x), self.draws))
        logits = logits if logits.dtype == torch.float64 else logits.float()
        out: Tensor = logits.log_softmax(2).logsumexp(1) - math.log(self.draws)
        return out

    def predict(
        self,
        x: Tensor,
        *,
        n: int = 1000,
        alpha: float = 0.001,
        seed: int = 0,
        indices: Tensor | None = None,
        batch: int = 1000,
        progress: OnProgress | None = None,
    ) -> Tensor:
        """Returns (N,), int64: the smoothed class of each image, or ABSTAINED where two classes are too near.

        n: noisy copies of each image.  alpha: the chance of a wrong class, for each image.
        indices: (N,), int64, where each image stands in its data set, 0 to N - 1 unless told.
        batch: copies that are read at a time.
        Raises InputError for numbers out of their ranges, and for a model in training mode.
        Source: Cohen et al. 2019, section 3.2.1 (PREDICT).
        """
        self._check(alpha, n=n, batch=batch)
        votes = self._votes(x, n, _streams(x, indices, seed).derive("prediction"), batch, progress)
        most, classes = votes.topk(2, dim=1)
        first, second = most.cpu().double().numpy().T
        # two-sided: of so many throws a fair coin shows heads, or tails, so often or more
        chance = torch.from_numpy(2 * betainc(first, second + 1, 0.5))
        return torch.where(chance.to(x.device) <= alpha, classes[:, 0], ABSTAINED)

    def certify(
        self,
        x: Tensor,
        *,
        n0: int = 100,
        n: int = 100_000,
        alpha: float = 0.001,
        seed: int = 0,
        indices: Tensor | None = None,
        batch: int = 1000,
        progress: OnProgress | None = None,
    ) -> Certificate:
        """Returns the smoothed class of each image and the radius within which it is certain.

        n0: noisy copies that choose the class.  n: other copies, which bound its probability from below.
        alpha: the chance of a wrong certificate, for each image.
        indices: (N,), int64, where each image stands in its data set, 0 to N - 1 unless told.
        batch: copies that are read at a time.
        Raises InputError for numbers out of their ranges, and for a model in training mode.
        Source: Cohen et al. 2019, section 3.2.2 (CERTIFY), with the settings of section 4.
        """
        self._check(alpha, n0=n0, n=n, batch=batch)
        streams = _streams(x, indices, seed)
        of = len(x) * (n0 + n)

        def after(before: int) -> OnProgress | None:
            return None if progress is None else lambda now: progress(Progress(before + now.done, of))

        chosen = self._votes(x, n0, streams.derive("selection"), batch, after(0)).argmax(1)
        votes = self._votes(x, n, streams.derive("estimation"), batch, after(len(x) * n0))
        agree = votes.gather(1, chosen[:, None]).squeeze(1)
        lower = lower_bound(agree, n, alpha)
        certain = lower > 0.5
        radius = torch.where(certain, self.sigma * torch.from_numpy(ndtri(lower.cpu().numpy())).to(lower), 0.0)
        return Certificate(torch.where(certain, chosen, ABSTAINED), radius, lower)

    @torch.no_grad()
    def _votes(self, x: Tensor, n: int, streams: Streams, batch: int, progress: OnProgress | None) -> Tensor:
        """(N, K), int64: how many of n noisy copies of each image the model classifies as each class."""
        votes, of = torch.zeros(len(x), 0, dtype=torch.int64, device=x.device), len(x) * n
        for start in range(0, of, batch):
            place = torch.arange(start, min(start + batch, of), device=x.device)
            image, copy = place // n, place % n
            copies = x[image]
            logits = self._read(copies, Streams(streams.key[image]).derive(copy).normal(copies))
            if not votes.shape[1]:
                votes = votes.new_zeros(len(x), logits.shape[1])
            votes.index_put_((image, logits.argmax(1)), torch.ones_like(image), accumulate=True)
            if progress is not None:
                progress(Progress(start + len(place), of))
        return votes

    def _read(self, copies: Tensor, noise: Tensor) -> Tensor:
        noisy = copies + self.sigma * noise
        logits: Tensor = self.model(noisy.clamp(0, 1) if self.clip else noisy)
        return logits

    def _check(self, alpha: float, **counts: int) -> None:
        for name, count in counts.items():
            _check_count(name, count)
        if not 0 < alpha < 0.5:
            raise InputError(f"expected alpha as a chance in (0, .5), got {alpha!r}: the paper's is .001")
        if any(module.training for module in self.model.modules()):
            raise InputError("expected a model in evaluation mode, got one in training mode: call eval() on it")


def lower_bound(agree: Tensor, n: int, alpha: float) -> Tensor:
    """Returns (N,), float64: below it lies a share of which n draws showed `agree`, with a chance of at most alpha.

    agree: (N,), int64 in [0, n].
    Source: Clopper & Pearson 1934, one-sided.
    """
    count = agree.cpu().double()
    found = betaincinv(count.clamp(min=1).numpy(), (n - count + 1).numpy(), alpha)
    return torch.where(count > 0, torch.from_numpy(found), 0.0).to(agree.device)


def _streams(x: Tensor, indices: Tensor | None, seed: int) -> Streams:
    indices = torch.arange(len(x)) if indices is None else indices
    if indices.shape != x.shape[:1]:
        raise InputError(f"expected {len(x)} indices, one for each image, got {tuple(indices.shape)}")
    return Streams.of(seed, indices.to(x.device)).derive("smoothing")


def _check_count(name: str, count: object) -> None:
    if not isinstance(count, int) or isinstance(count, bool) or count < 1:
        raise InputError(f"expected {name} as a whole number >= 1, got {count!r}")
