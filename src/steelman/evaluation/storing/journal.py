"""What stands in a run's journal: the attempts, and what each made of every image."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

SCHEMA = 2
"""2: kinds of steps in the field's words; fingerprints, class names and each image's digest belong to a run."""

WRITERS = {1: "up to commit f1ba80d"}
"""What wrote the schemas before."""

TABLES = """
create table about (key text primary key, value text not null);
create table images (number integer primary key, label text not null, digest text not null);
create table steps (
    threat integer, step text, position integer, attack text, through text, kind text, primary key (threat, step)
);
create table outcomes (
    threat integer, step text, number integer, broken integer, bare integer, margin real, distance real,
    forwards integer, backwards integer, seed integer, by text, row integer, once integer, chunk integer,
    primary key (threat, step, number)
) without rowid;
create table pieces (threat integer, step text, chunk integer, seconds real, primary key (threat, step, chunk));
create table facts (threat integer, name text, value text, primary key (threat, name));
"""


class StepKind(StrEnum):
    """What an attempt is for: who makes it, or what it proves or adds."""

    CLEAN = "clean"
    STATIC = "static"
    ADAPTIVE = "adaptive"
    CERTIFICATE = "certificate"
    CURVE = "curve"
    ESCALATED = "escalated"


class Step(NamedTuple):
    """One attempt of a run.

    threat: the place of its threat among the run's.  step: what names it there.  attack, through: of the attempt.
    """

    threat: int
    step: str
    attack: str
    through: str
    kind: StepKind


class Outcome(NamedTuple):
    """What one attempt made of one image.

    number: its place in the data set.  bare: whether the bare classifier was broken, None for all but static attempts.
    broken, margin, distance, forwards, backwards, seed, by: as in a sample's record.
    row: of its adversarial image in the chunk's shard, None where none is kept.
    once: whether a random pipeline misclassified it in some one of its looks; None of one that is not random.
    """

    number: int
    broken: bool
    bare: bool | None
    margin: float
    distance: float
    forwards: int
    backwards: int
    seed: int
    by: str
    row: int | None = None
    once: bool | None = None
