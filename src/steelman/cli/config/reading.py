"""The options of `steelman evaluate` from all that says them: defaults, a file, the command line, --set."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path

from steelman.cli import bring
from steelman.cli.config.entries import OWN, Entry, as_options, below, in_options
from steelman.cli.config.keys import KEYS
from steelman.cli.config.sources import in_file, in_words
from steelman.errors import InputError, unknown
from steelman.registry import takes

_UNSAID = object()


def add(command: argparse.ArgumentParser) -> None:
    """Lets a command take its options from a file too; called once it has them all.

    From then on the parser tells what was said from what was not, and only `read` puts the defaults in.
    """
    command.add_argument(
        "file",
        nargs="?",
        type=Path,
        help="a TOML file that says all this; it stands before the options, which override it",
    )
    usual = {it.dest: command.get_default(it.dest) for it in KEYS.values() if not it.kind.table}
    command.set_defaults(**dict.fromkeys(usual, _UNSAID), usual=usual)


def read(options: argparse.Namespace) -> argparse.Namespace:
    """Returns the options as a parser without a file would have them: defaults, then the file, the options, and --set.

    options: of a parser that `add` has seen.
    Raises InputError, with the line, for whatever is wrong in the file and in --set.
    """
    said = {key: value for key, value in vars(options).items() if value is not _UNSAID}
    usual, file, words = said.pop("usual"), said.pop("file"), said.pop("set")
    entries = in_options(usual)
    if file is not None:
        entries = _over(entries, in_file(file))
    _check_numbers(said)
    entries = _over(entries, in_options(said))
    entries = _over(entries, in_words(words))
    _check_attack(entries)
    _check_defence(entries)
    return argparse.Namespace(**said | vars(as_options(entries)))


def _over(entries: Mapping[str, Entry], later: Mapping[str, Entry]) -> dict[str, Entry]:
    """What is said later wins; another defence leaves the settings of the one before."""
    kept = dict(entries)
    if "defence.name" in later:
        kept = {key: entry for key, entry in kept.items() if not key.startswith("defence.settings.")}
    return kept | dict(later)


def _check_numbers(said: Mapping[str, object]) -> None:
    """Raises InputError for numbers on the command line that no file could say.

    Names and eps, which may be inf there, are checked where they are used.
    """
    for key, it in KEYS.items():
        if it.dest in said and key != "attack.eps" and not (it.kind.words or it.kind.table):
            it.kind.read(it.option, said[it.dest], Path())


def _check_attack(entries: Mapping[str, Entry]) -> None:
    """Raises InputError for settings that none of the attacks has."""
    from steelman.attacks import catalogue

    listed = entries["attack.names"].value
    names = listed if isinstance(listed, list) else []
    if not all(name in catalogue for name in names):
        return
    known = {key for name in names for key in bring.takes(name)}
    called = " or ".join(names)
    for key in OWN:
        entry = entries.get(f"attack.{key}")
        if entry is not None and key not in known:
            what = f"attack.{key}" if entry.place else f"--{key}"
            raise _at(entry, InputError(f"expected no {what} for {called}, which has none: leave it out"))
    for key in below(entries, "attack.settings"):
        entry = entries[f"attack.settings.{key}"]
        if key in OWN:
            raise _at(entry, InputError(f"expected attack.{key}, a key of its own, got attack.settings.{key}"))
        if key not in known and f"attack.{key}" in KEYS:
            raise _at(entry, InputError(f"expected the name of a setting of {called}, got {key!r}: say attack.{key}"))
        if key not in known:
            raise _at(entry, unknown(f"setting of {called}", key, known))


def _check_defence(entries: Mapping[str, Entry]) -> None:
    """Raises InputError for settings that the defence does not have."""
    from steelman import defences

    name = str(entries["defence.name"].value) if "defence.name" in entries else "none"
    for key in below(entries, "defence.settings"):
        entry = entries[f"defence.settings.{key}"]
        bare = name in defences.purifiers and "defence.settings.weights" not in entries
        if bare or (name not in defences.catalogue and ":" not in name):
            some = ", ".join(defences.transforms)
            raise _at(entry, InputError(f"expected no settings for the defence {name}: {some} have some"))
        known = (*takes(defences.catalogue.get(name, code=True)), "weights")
        if key not in known:
            raise _at(entry, unknown(f"setting of {name}", key, known))


def _at(entry: Entry, error: InputError) -> InputError:
    return InputError(f"{entry.place}: {error}") if entry.place else error
