"""What has a name: what ships, what installed packages bring (entry points), and what a line of code names."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property, reduce
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import Generic, TypeVar

from steelman.errors import InputError, unknown

T = TypeVar("T")


def called(what: str, found: object) -> Callable[..., object]:
    """Returns a function or a class as it came; what every catalogue asks of a plug-in at least.

    what: whose it is, as an error calls it.  Raises InputError for anything else.
    """
    if not callable(found):
        raise InputError(f"expected a function or a class as {what}, got {type(found).__name__}: name one")
    return found


class Registry(Mapping[str, T], Generic[T]):
    """A catalogue: names to what bears them, in the order that it ships, then the plug-ins' of its group.

    kind: what it holds, as an error calls it.  shipped: the catalogue in the open.
    group: of entry points, as in "steelman.attacks"; they are looked for once, when first needed, and imported when
    asked for.
    check: gets whose it is in words, and what a plug-in or code gives for a name; it returns that as the catalogue
    holds it, or raises InputError that says what is wanted. What ships is not checked.
    """

    def __init__(
        self, kind: str, shipped: Mapping[str, T], *, group: str, check: Callable[[str, object], T] | None = None
    ) -> None:
        self.kind, self.shipped, self.group = kind, shipped, group
        self._check: Callable[[str, object], T] = check or called  # type: ignore[assignment]

    def get(self, name: str, *, code: bool = False) -> T:  # type: ignore[override]
        """Returns what bears a name.

        code: also take "package.module:name" and "path/to/file.py:name", which run; for what the user wrote alone.
        Raises InputError for an unknown name, one that two bear, code where none may be named, and a plug-in or code
        that cannot be imported or is no such thing.
        """
        points = self._plugins.get(name, [])
        if len(points) + (name in self.shipped) > 1:
            raise self._contested(name, points)
        if name in self:
            return self[name]
        if ":" not in name:
            raise unknown(self.kind, name, [*self, *(("package.module:name", "path/to/file.py:name") if code else ())])
        if name.partition(":")[0] in self:
            raise InputError(f"expected settings as NAME:KEY=VALUE,KEY=VALUE, got {name!r}")
        if not code:
            raise InputError(
                f"expected the name of a known {self.kind}, got {name!r}, which would run code: say --trust-code if "
                "you trust who wrote it, or catalogue.get(…, code=True) in Python; a service never does"
            )
        return self._check(f"the {self.kind} {name}", load(name))

    def resolve(self, name: str, *, code: bool = False) -> T | str:
        """Returns what a line of code names, and any other name as it is: for who takes further names, as of weights.

        code, errors: as `get` has them.
        """
        return name if name in self or ":" not in name else self.get(name, code=code)

    def named(self, it: T | str) -> tuple[str, T]:
        """Returns (name, what bears it) of a name, or of what could stand in the catalogue.

        Raises InputError as `get` does.
        """
        return (it, self.get(it)) if isinstance(it, str) else (getattr(it, "__name__", type(it).__name__), it)

    def __getitem__(self, name: str) -> T:
        if name in self.shipped:
            return self.shipped[name]
        point = self._plugins[name][0]
        what = f"the {self.kind} {name} of {_whose(point)}"
        try:
            found = point.load()
        except (Exception, SystemExit) as error:  # a stranger's module can do anything while it is imported
            raise InputError(f"expected to import {what}, but {told(error)}: mend or uninstall it") from error
        return self._check(what, found)

    def __contains__(self, name: object) -> bool:
        return name in self.shipped or name in self._plugins

    def __iter__(self) -> Iterator[str]:
        yield from self.shipped
        yield from (name for name in self._plugins if name not in self.shipped)

    def __len__(self) -> int:
        return len(self.shipped.keys() | self._plugins.keys())

    @cached_property
    def _plugins(self) -> Mapping[str, list[EntryPoint]]:
        found: dict[str, list[EntryPoint]] = {}
        for point in entry_points(group=self.group):
            found.setdefault(point.name, []).append(point)
        return found

    def _contested(self, name: str, points: list[EntryPoint]) -> InputError:
        bearers = [*(["steelman itself"] if name in self.shipped else []), *map(_whose, points)]
        return InputError(
            f"expected one {self.kind} called {name}, got those of {' and '.join(bearers)}: uninstall "
            f"{' or '.join(map(_whose, points))}, or rename its entry point in {self.group}"
        )


def load(place: str) -> object:
    """Returns what a line of code names: "package.module:name" or "path/to/file.py:name".

    The current folder is importable while it loads, and a file's own folder before all others.
    Raises InputError if there is no such file, module or name, or it cannot be imported.
    """
    where, _, name = place.rpartition(":")
    if not where or not name:
        raise InputError(f"expected package.module:name or path/to/file.py:name, got {place!r}: say both parts")
    try:
        module = _from_file(Path(where)) if where.endswith(".py") else _from_module(where)
    except InputError:
        raise
    except (Exception, SystemExit) as error:
        hint = "" if where.endswith(".py") else ": is its folder on PYTHONPATH?"
        raise InputError(f"expected to import {where} for {place!r}, but {told(error)}{hint}") from error
    try:
        return reduce(getattr, name.split("."), module)
    except AttributeError:
        offered = [key for key in vars(module) if not key.startswith("_")]
        raise unknown(f"thing in {where}", name, offered) from None


def takes(made: Callable[..., object]) -> tuple[str, ...]:
    """Returns the names of what a function or a class takes by name; none where it does not say."""
    try:
        parameters = inspect.signature(made).parameters.values()
    except (TypeError, ValueError):
        return ()
    return tuple(each.name for each in parameters if each.kind in (each.POSITIONAL_OR_KEYWORD, each.KEYWORD_ONLY))


def make(name: str, made: Callable[..., T], settings: Mapping[str, object], **offered: object) -> T:
    """Returns what a function or a class makes of settings.

    name: as an error calls it.  offered: what it gets besides if it takes it, and where no setting says otherwise.
    Raises InputError for settings that it does not have or cannot use.
    """
    known = takes(made)
    for key in settings:
        if key not in known:
            raise unknown(f"setting of {name}", key, known)
    given = {key: value for key, value in offered.items() if key in known} | dict(settings)
    try:
        return made(**given)
    except InputError:
        raise
    except (Exception, SystemExit) as error:  # what somebody else wrote can raise anything
        wanted = f"settings that build {name}" if settings else f"{name} to work without settings"
        raise InputError(f"expected {wanted}, but {told(error)}") from error


def qualified(made: object) -> str:
    """Returns the module and the name of a function or a class, or of what something else is; for a record."""
    own = made if hasattr(made, "__qualname__") else type(made)
    return f"{own.__module__}.{own.__qualname__}"


def told(error: BaseException) -> str:
    """Returns an exception's name and message on one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


def _from_module(name: str) -> ModuleType:
    importlib.invalidate_caches()
    with _importable(last=Path.cwd()):
        return importlib.import_module(name)


def _from_file(path: Path) -> ModuleType:
    """A file as a module, once for each content: its name holds the content's digest, so that identities see it."""
    path = path.expanduser().resolve()
    if not path.is_file():
        raise InputError(f"expected a Python file at {path}, found none: check the path")
    name = f"{path.stem}_{hashlib.sha256(path.read_bytes()).hexdigest()[:12]}"
    if (known := sys.modules.get(name)) is not None and known.__file__ == str(path):
        return known
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    importlib.invalidate_caches()
    sys.modules[name] = module  # dataclasses and pickles look their module up by name
    try:
        with _importable(path.parent, last=Path.cwd()):
            spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


@contextmanager
def _importable(*first: Path, last: Path) -> Iterator[None]:
    before = list(sys.path)
    sys.path[:] = [*map(str, first), *before, str(last)]
    try:
        yield
    finally:
        sys.path[:] = before


def _whose(point: EntryPoint) -> str:
    return point.value if point.dist is None else f"{point.dist.name} {point.dist.version}"
