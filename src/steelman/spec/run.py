"""A run as one value, read from all that says it: a command's defaults, a file, the command line, --set."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Self

from steelman.errors import InputError, unknown
from steelman.registry import takes as takes_of
from steelman.spec.build import takes
from steelman.spec.options import OPTIONS, option_of
from steelman.spec.parts import Parts, SpecError
from steelman.spec.sources import OWN, SETTINGS, Entry, in_file, in_options, in_words
from steelman.spec.values import PATH, Name
from steelman.spec.writing import write

CODE = re.compile(r"[\w.]+:[\w.]+|.+\.py:[\w.]+")
"""A name that is looked up in a module or a file, which then runs."""

_NOTHING: Mapping[str, Any] = MappingProxyType({})


class RunSpec(Parts):
    """A run as one value: the command line, --set, a TOML file and a report's own file say the same one.

    data: which images.  pipeline: which classifier, with what around it.  attacks: what is tried.  run: how it goes.
    """

    @classmethod
    def read(
        cls,
        file: Path | None = None,
        said: Mapping[str, Any] = _NOTHING,
        words: Iterable[str] = (),
        *,
        usual: Mapping[str, Any] = _NOTHING,
        trust_code: bool = False,
    ) -> Self:
        """Returns the run that these say, the later over the earlier.

        said: options of the command line by their keys.  words: of --set.
        usual: the options of a command with its own defaults; --set then says no others.
        trust_code: whether the file may name code outside of steelman, which then runs.
        Raises InputError, with the place, for whatever is wrong.
        """
        entries: dict[str, Entry] = {}
        told = in_words(words)
        for key, entry in told.items():
            if usual and not option_of(key).table and key not in usual:
                raise _at(entry, f"expected a key that this command has, got {key}: leave it out")
        for later in (in_options(usual), in_file(file) if file else {}, in_options(said), told):
            for table in (table for key, table in SETTINGS.items() if key in later):
                entries = {key: entry for key, entry in entries.items() if not key.startswith(f"{table}.")}
            entries |= later
        entries = {key: _known(key, entry, trust_code) for key, entry in entries.items()}
        try:
            spec = cls(**_parts(entries))
            _check_attack(spec)
            _check_defence(spec)
        except SpecError as error:
            entry, option = entries[error.key], option_of(error.key)
            raise _at(entry, error.told(error.key if entry.place else option.option)) from None
        return spec

    @classmethod
    def from_toml(cls, path: Path | str, *, trust_code: bool = False) -> Self:
        """Returns the run that a file says, relative paths from its folder; errors and trust_code as of `read`."""
        return cls.read(Path(path), trust_code=trust_code)

    def to_toml(self, folder: Path | None = None) -> str:
        """Returns the file that says this run, the defaults too; where it stands in a folder, with paths from there."""
        return write(self, folder or Path())


def _parts(entries: Mapping[str, Entry]) -> dict[str, Any]:
    """The arguments of Parts."""
    parts: dict[str, dict[str, Any]] = {}
    for key, entry in entries.items():
        option = option_of(key)
        here = parts.setdefault(option.part, {})
        if option.table:
            here.setdefault(option.name, {})[key.removeprefix(f"{option.key}.")] = entry.value
        else:
            here[option.name] = entry.value
    return parts


def _known(key: str, entry: Entry, trust_code: bool) -> Entry:
    """An entry whose names are known, and whose paths are relative to the current folder."""
    option = option_of(key)
    folder = entry.file.parent if entry.file else Path()
    if isinstance(option.kind, Name):
        name, several = option.kind, isinstance(entry.value, list | tuple)
        found = [_one(name, each, entry, folder, trust_code) for each in (entry.value if several else [entry.value])]
        return replace(entry, value=found if several else found[0])
    if (option.kind is PATH or key.endswith(".settings.weights")) and isinstance(entry.value, str) and entry.value:
        place = folder / entry.value
        return replace(entry, value=place if option.kind is PATH else str(place))
    return entry


def _one(name: Name, text: object, entry: Entry, folder: Path, trust_code: bool) -> object:
    if not isinstance(text, str) or not text or "\0" in text:
        return text  # which Parts refuses
    names = list(name.known())
    if text in names:
        return text
    head, _, rest = text.partition(":")
    if rest and "=" not in rest and head in names:
        raise _at(entry, f"expected the settings of {head} as NAME=VALUE, got {rest!r}: say {head}:{rest}=VALUE")
    if name.code and CODE.fullmatch(text):
        if entry.file and not trust_code:
            raise _at(entry, f"expected no code of others in a file, got {text!r}: say --trust-code to run it")
        place, _, _ = text.rpartition(":")
        return str(folder / text) if place.endswith(".py") else text
    if name.file and (folder / text).exists():
        return str(folder / text)
    more = ["package.module:name", "path/to/file.py:name"] * name.code + [name.file] * bool(name.file)
    raise _at(entry, str(unknown(name.kind, text, [*names, *more])))


def _check_attack(spec: Parts) -> None:
    attacks = spec.attacks
    known = {key for name in attacks.names for key in takes(name)}
    called = " or ".join(attacks.names)
    for key in OWN:
        if getattr(attacks, key) is not None and key not in known:
            raise SpecError(f"attack.{key}", f"expected no {{what}} for {called}, which has none: leave it out")
    for key in attacks.settings:
        whole = f"attack.settings.{key}"
        if key in OWN:
            raise SpecError(whole, f"expected attack.{key}, a key of its own, got {whole}")
        if key not in known and f"attack.{key}" in OPTIONS:
            raise SpecError(whole, f"expected the name of a setting of {called}, got {key!r}: say attack.{key}")
        if key not in known:
            raise SpecError(whole, str(unknown(f"setting of {called}", key, known)))


def _check_defence(spec: Parts) -> None:
    from steelman import defences

    name = spec.pipeline.defence or "none"
    for key in spec.pipeline.settings:
        whole = f"defence.settings.{key}"
        bare = name in defences.purifiers and "weights" not in spec.pipeline.settings
        if bare or (name not in defences.catalogue and not CODE.fullmatch(name)):
            some = ", ".join(defences.transforms)
            raise SpecError(whole, f"expected no settings for the defence {name}: {some} have some")
        known = (*takes_of(defences.catalogue.get(name, code=True)), "weights")
        if key not in known:
            raise SpecError(whole, str(unknown(f"setting of {name}", key, known)))


def _at(entry: Entry, sentence: str) -> InputError:
    return InputError(f"{entry.place}: {sentence}" if entry.place else sentence)
