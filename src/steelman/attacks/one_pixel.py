"""The one-pixel attack: differential evolution of a few pixels, by the scores alone."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple

import torch
from torch import Tensor

from steelman.attacks.attack import Attack
from steelman.attacks.engine.oracle import Oracle
from steelman.attacks.engine.problem import Asks, Problem, take
from steelman.attacks.settings import count, inside
from steelman.errors import InputError
from steelman.losses import others
from steelman.norms import Ball
from steelman.streams import Streams
from steelman.threat import Threat

Base = Literal["random", "best"]


class Population(NamedTuple):
    """The candidates of M samples, G of each, by their pixels.

    row: (M,), int64, the sample.  pixels: (M,), int64, how many pixels of a candidate it may change.
    place: (M, J, G, 2), of each of J pixels, in [0, 1).  colour: (M, J, G, C), in [0, 1].
    fitness: (M, G), higher is nearer to being broken.
    """

    row: Tensor
    pixels: Tensor
    place: Tensor
    colour: Tensor
    fitness: Tensor


@dataclass(frozen=True, kw_only=True)
class Evolution:
    """Differential evolution: a child of others replaces its parent where it is fitter.

    steps: generations after the first.  population: candidates of each sample.
    most: pixels that a candidate changes, None for as many as the threat allows.
    base: what the difference of two others, times factor, is added to: a third, or the fittest; None for a third where
    one pixel changes and for the fittest where several do.
    """

    steps: int
    population: int
    most: int | None
    base: Base | None
    factor: float = 0.5

    asks: ClassVar[Asks] = Asks.SCORES

    @property
    def queries(self) -> int:
        """What a sample costs that holds to the end, the clean look counted."""
        return 1 + self.population * (1 + self.steps)

    def search(self, oracle: Oracle, tell: Callable[[], None]) -> None:
        """Shows one generation of every sample after another, until it is broken."""
        people = self._first(oracle)
        for generation in range(self.steps + 1):
            people = take(people, ~oracle.done[people.row])
            if not len(people.row):
                break
            place, colour = self._children(oracle, people, generation) if generation else people[2:4]
            fitness = _shown(oracle, people.row, people.pixels, place, colour)
            better = fitness > people.fitness
            people = people._replace(
                place=torch.where(better[:, None, :, None], place, people.place),
                colour=torch.where(better[:, None, :, None], colour, people.colour),
                fitness=torch.where(better, fitness, people.fitness),
            )
            tell()

    def _first(self, oracle: Oracle) -> Population:
        problem = oracle.problem
        pixels = _allowed(problem, self.most)
        row = (pixels > 0).nonzero().squeeze(1)
        pixels = pixels[row]
        channels, n = _flat(problem.x).shape[1], len(row)
        streams = Streams(problem.streams.key[row]).derive("first")
        # The pixels come before the candidates, so that a sample draws the same beside one that may change more.
        many = int(pixels.max()) if n else 0
        place = streams.derive("place").uniform(problem.x.new_empty(n, many, self.population, 2))
        colour = streams.derive("colour").normal(problem.x.new_empty(n, many, self.population, channels))
        colour = ((128 + 127 * colour) / 255).clamp(0, 1)
        return Population(row, pixels, place, colour, place.new_full((n, self.population), -torch.inf))

    def _children(self, oracle: Oracle, people: Population, generation: int) -> tuple[Tensor, Tensor]:
        """The places and colours of one child for each candidate; a place beyond the image is drawn again."""
        streams = Streams(oracle.problem.streams.key[people.row]).derive("child").derive(generation)
        parents = _three_others(streams, len(people.row), self.population)
        greedy = people.pixels > 1 if self.base is None else torch.full_like(people.pixels, self.base == "best").bool()
        parents[0] = torch.where(greedy[:, None], people.fitness.argmax(1, keepdim=True), parents[0])

        def bred(gene: Tensor) -> Tensor:
            one, two, three = (gene.take_along_dim(parent[:, None, :, None], 2) for parent in parents)
            return one + self.factor * (two - three)

        place = bred(people.place)
        again = streams.derive("again").uniform(place)
        return torch.where((place >= 0) & (place < 1), place, again), bred(people.colour).clamp_(0, 1)


def one_pixel(
    threat: Threat | Ball,
    *,
    steps: int = 100,
    population: int = 400,
    pixels: int | None = None,
    base: Base | None = None,
    targeted: bool = False,
) -> Attack:
    """Returns the one-pixel attack: differential evolution of the places and colours of a few pixels.

    threat: L0, which counts entries: a pixel of an image with C channels is C of them, so that L0(1) is one pixel of a
    grey image and L0(3) one of a colour image. Of a vector each entry is a pixel.
    steps: generations.  population: candidates of each image, shown once a generation.
    pixels: that a candidate changes; as many as the threat has room for unless told.
    base: what half the difference of two candidates is added to: "random", a third, as in the paper, or "best", the
    fittest, as in the implementations in use. Unless told the first for one pixel, where the fittest ends in a nearer
    optimum, and the second for several, where it finds far more.
    Fitness is the odds of the true (or of the wanted) class, which order candidates as its probability does, and do not
    round. An image is done in the generation that breaks it; the paper goes on until the true class has less than 5 %,
    or the wanted one 90 %. Places beyond the image are drawn again. What changes nothing costs no query.
    Raises InputError for a threat without room for one pixel, once the images are known.
    Source: Su et al. 2019 (One pixel attack for fooling deep neural networks), section 3: F = .5, no crossover, 400
    candidates, 100 generations, places uniform and colours normal around 128 with a deviation of 127, cut to the box.
    """
    threat = inside(threat, "one-pixel", "L0")
    if not math.isfinite(threat.high - threat.low):
        raise InputError(f"expected a box with finite sides for one-pixel, got [{threat.low:g}, {threat.high:g}]")
    if base not in (None, "random", "best"):
        raise InputError(f"expected base as 'random' or 'best', got {base!r}")
    rule = Evolution(
        steps=count(steps),
        population=count(population, "population", 4),
        most=None if pixels is None else count(pixels, "pixels"),
        base=base,
    )
    return Attack(name="one-pixel", threat=threat, rule=rule, targeted=targeted)


def _flat(x: Tensor) -> Tensor:
    """(N, C, P): images as their pixels."""
    return x.flatten(2) if x.dim() > 3 else x.flatten(1)[:, None]


def _grid(x: Tensor) -> tuple[int, int]:
    if x.dim() > 4:
        raise InputError(f"expected vectors or images of at most (channels, height, width), got {tuple(x.shape[1:])}")
    return (1 if x.dim() == 2 else x.shape[-2]), x.shape[-1]


def _allowed(problem: Problem, most: int | None) -> Tensor:
    """(N,), int64: how many pixels of each sample may change; none where eps is zero."""
    _, channels, total = _flat(problem.x).shape
    eps = torch.as_tensor(problem.threat.eps, device=problem.x.device, dtype=problem.x.dtype).expand(len(problem.x))
    pixels = (eps / channels + 1e-6).floor().clamp_max(total if most is None else min(most, total)).long()
    short = eps[(eps > 0) & (pixels == 0)]
    if len(short):
        raise InputError(
            f"expected an L0 radius of at least {channels}, the entries of one pixel of these images, for one-pixel, "
            f"got {float(short[0]):g}"
        )
    return pixels


def _shown(oracle: Oracle, row: Tensor, pixels: Tensor, place: Tensor, colour: Tensor) -> Tensor:
    """(M, G): the fitness of candidates, as many of which are made at once as are in the model."""
    members, count_ = place.shape[2], len(row)
    fitness = place.new_empty(members * count_)
    for at in torch.arange(members * count_, device=row.device).split(oracle.slots):
        member, sample = at // count_, at % count_
        ids, threat = row[sample], oracle.problem.threat
        colours = threat.low + (threat.high - threat.low) * colour[sample, :, member]
        clean, y, logits = oracle.problem.x[ids], oracle.problem.y[ids], oracle.problem.logits[ids]
        x = _painted(clean, pixels[sample], place[sample, :, member], colours)
        # Black painted on black costs no query: what the clean image gives is known.
        new = (x != clean).flatten(1).any(1).nonzero().squeeze(1)
        if len(new):
            logits[new] = oracle.look(ids[new], x[new])
        odds = others(logits, y).logsumexp(1) - logits.gather(1, y[:, None]).squeeze(1)
        fitness[at] = (oracle.problem.sign * odds).to(fitness.dtype)
    return fitness.view(members, count_).T


def _painted(x: Tensor, pixels: Tensor, place: Tensor, colour: Tensor) -> Tensor:
    """(M, *S): images with the first of J pixels, as many as each has, at places (M, J, 2) in colours (M, J, C)."""
    height, width = _grid(x)
    flat = _flat(x)
    size = place.new_tensor([height, width])
    spot = (place * size).long().minimum(size.long() - 1)
    index = spot[..., 0] * width + spot[..., 1]
    for j in range(place.shape[1]):
        where = index[:, j, None, None].expand(-1, flat.shape[1], 1)
        new = torch.where((j < pixels)[:, None], colour[:, j], flat.gather(2, where).squeeze(2))
        flat = flat.scatter(2, where, new[:, :, None])
    return flat.view_as(x)


def _three_others(streams: Streams, samples: int, population: int) -> list[Tensor]:
    """Three times (M, G), int64: of each candidate three different ones, none of them itself, all equally likely."""
    like = streams.key.new_empty(samples, population)
    first, second, third = (streams.derive(f"parent {n}").below(population - n, like) + 1 for n in (1, 2, 3))
    second = second + (second >= first)
    low, high = torch.minimum(first, second), torch.maximum(first, second)
    third = third + (third >= low)
    third = third + (third >= high)
    own = torch.arange(population, device=like.device)
    return [(own + offset) % population for offset in (first, second, third)]
