"""The house rules, read from the source: who may import whom, and what is written on the doors."""

import ast
import importlib
import re
from pathlib import Path

import pytest

import steelman

ROOT = Path(steelman.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))
MODULES = {
    ".".join(("steelman", *path.relative_to(ROOT).with_suffix("").parts)).removesuffix(".__init__"): path
    for path in FILES
}

ANYWHERE = {"errors", "files", "precision", "progress", "device", "radius", "registry", "version", "keys"}
ABOVE = {
    "errors": set(),
    "files": set(),
    "precision": set(),
    "progress": set(),
    "version": set(),
    "keys": set(),
    "device": set(),
    "radius": set(),
    "registry": set(),
    "streams": set(),
    "norms": {"streams"},
    "threat": {"norms", "streams"},
    "losses": set(),
    "bounds": {"norms", "threat"},
    "victim": {"losses"},
    "attacks": {"norms", "threat", "streams", "losses", "victim", "weights"},
    "weights": set(),
    "models": {"weights"},
    "defences": {"weights", "models", "streams"},
    "data": set(),
    "pipeline": {"weights", "models", "defences", "data", "losses", "victim", "streams"},
    "spec": {"pipeline", "evaluation", "attacks", "data", "defences", "models", "norms", "threat"},
    "records": set(),
    "training": {"attacks", "norms", "threat", "losses", "victim", "streams", "data", "models", "defences", "weights"}
    | {"bounds", "pipeline"},
    "evaluation": {
        "pipeline",
        "bounds",
        "attacks",
        "norms",
        "threat",
        "losses",
        "victim",
        "streams",
        "data",
        "models",
        "defences",
        "weights",
        "records",
    },
    "report": {"records"},
    "result": {"records", "report"},
    "api": {"result", "evaluation"},
    "studies": {
        "report",
        "records",
        "training",
        "evaluation",
        "attacks",
        "norms",
        "threat",
        "losses",
        "victim",
        "streams",
        "data",
    }
    | {"models", "defences", "weights", "pipeline"},
    "testing": {"attacks", "norms", "threat", "losses", "models", "defences"},
}
"""What each room may import besides itself and what is open to all; the command line may import everything."""

public = pytest.mark.parametrize("module", MODULES)


def tree(module):
    return ast.parse(MODULES[module].read_text(encoding="utf-8"))


def room(module):
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else ""


def imports(node, inside=""):
    """Yields (function it stands in, module) for every import of steelman's own modules."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            yield from ((inside, alias.name) for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            for alias in child.names:
                full = f"{child.module}.{alias.name}"
                yield inside, full if full in MODULES else child.module
        else:
            named = isinstance(child, ast.FunctionDef | ast.ClassDef)
            yield from imports(child, f"{inside}.{child.name}".strip(".") if named else inside)


def may(here, there):
    """Whether one module may import another."""
    target = there.removeprefix("steelman.")
    if room(here) in {"", "cli", "__main__", room(there)} or room(there) in ANYWHERE:
        return True
    return any(target == allowed or target.startswith(f"{allowed}.") for allowed in ABOVE[room(here)])


@public
def test_imports_point_upwards(module):
    own = [(where, name) for where, name in imports(tree(module)) if name.split(".")[0] == "steelman"]
    wrong = [f"{module} imports {name}" + f" in {where}" * bool(where) for where, name in own if not may(module, name)]
    assert not wrong


def test_every_room_has_a_rule():
    rooms = {room(module) for module in MODULES} - {"", "cli", "__main__"}
    assert rooms <= set(ABOVE)


def test_the_rules_have_no_circle():
    """A room above another is never below it, through others either."""
    for name in ABOVE:
        seen, waiting = set(), [name]
        while waiting:
            for above in ABOVE[waiting.pop().split(".")[0]] - seen:
                seen.add(above)
                waiting.append(above)
        assert name not in seen


def test_an_import_that_points_downwards_is_seen():
    assert not may("steelman.defences.purifiers", "steelman.attacks.engine.loop")
    assert not may("steelman.models.cnn", "steelman.attacks")
    assert not may("steelman.norms", "steelman.threat")
    assert not may("steelman.attacks.rules", "steelman.evaluation")
    assert not may("steelman.report.page", "steelman.evaluation.measure")
    assert may("steelman.report.page", "steelman.records")
    assert may("steelman.report.page", "steelman.errors")
    found = list(imports(ast.parse("def f():\n    from steelman.attacks import engine\nimport steelman.norms")))
    assert found == [("f", "steelman.attacks.engine"), ("", "steelman.norms")]


def circles(graph):
    """Returns the sets of modules of which each can be reached from every other, by {module: modules}."""
    reached = {}
    for module in graph:
        seen, waiting = set(), [module]
        while waiting:
            new = graph[waiting.pop()] - seen
            seen |= new
            waiting += new
        reached[module] = seen
    return {
        frozenset(other for other in reached[module] if module in reached[other])
        for module in graph
        if module in reached[module]
    }


def test_no_module_imports_itself_through_others():
    """Imports inside functions and for types alone count too."""
    graph = {name: {there for _, there in imports(tree(name)) if there in MODULES} for name in MODULES}
    assert not [sorted(circle) for circle in circles(graph)]


def test_a_circle_is_seen():
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": set()}) == {frozenset({"b", "c"})}


@public
def test_imports_are_absolute(module):
    assert not [node for node in ast.walk(tree(module)) if isinstance(node, ast.ImportFrom) and node.level]


def test_report_and_records_know_no_torch():
    for module in (name for name in MODULES if room(name) in {"records", "report"}):
        assert not [name for _, name in imports(tree(module)) if name.split(".")[0] in {"torch", "safetensors"}]


def test_no_module_has_a_name_that_says_nothing():
    nothing = {"utils", "util", "helpers", "helper", "common", "base", "misc", "core", "tools"}
    assert not [module for module in MODULES if module.rsplit(".", 1)[-1] in nothing]


def order(name):
    """Constants, classes, the rest, and numbers by size: as ruff wants it (RUF022)."""
    kind = 0 if name.isupper() else 1 if name[:1].isupper() else 2
    return kind, [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]


def statements(body):
    """Yields the statements of a module and of its top-level conditions, as of `if TYPE_CHECKING`."""
    for node in body.body:
        yield from statements(node) if isinstance(node, ast.If) else (node,)


def bound(body):
    """Yields the names that a module defines."""
    for node in statements(body):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.AnnAssign | ast.Assign):
            targets = [node.target] if isinstance(node, ast.AnnAssign) else node.targets
            yield from (target.id for target in targets if isinstance(target, ast.Name))


@pytest.mark.parametrize("module", [name for name, path in MODULES.items() if path.name == "__init__.py"])
def test_a_package_lists_what_it_offers(module):
    body = tree(module)
    listed = [
        ast.literal_eval(node.value)
        for node in body.body
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "__all__"
    ]
    imported = {
        alias.asname or alias.name
        for node in statements(body)
        if isinstance(node, ast.ImportFrom) and f"{node.module}.".startswith(f"{module}.")
        for alias in node.names
    }
    offered = {name for name in {*bound(body), *imported} if not name.startswith("_")}
    if not listed:
        assert not offered
        return
    (names,) = listed
    assert names == sorted(names, key=order)
    assert len(names) == len(set(names))
    assert set(names) == offered
    package = importlib.import_module(module)
    assert all(getattr(package, name) is not None for name in names)


def undocumented(body, owner=""):
    """Yields what is public and says nothing: modules, classes, functions and methods."""
    for node in body.body:
        if not isinstance(node, ast.FunctionDef | ast.ClassDef) or node.name.startswith("_"):
            continue
        said = ast.get_docstring(node)
        stub = isinstance(node, ast.FunctionDef) and _is_stub(node)
        module_call = node.name in {"forward", "train"} and owner
        if not said and not stub and not module_call:
            yield f"{owner}{node.name}"
        if isinstance(node, ast.ClassDef):
            yield from undocumented(node, f"{node.name}.")


def _is_stub(node):
    """A protocol's method, which its class documents, or an override that torch documents."""
    last = node.body[-1]
    return len(node.body) == 1 and isinstance(last, ast.Expr) and getattr(last.value, "value", None) is ...


@public
def test_everything_public_is_documented(module):
    body = tree(module)
    assert ast.get_docstring(body)
    assert not list(undocumented(body))


PARAMETERS = 8
"""As many may a public function take."""

MANY = {
    "steelman.attacks.attack": {"Attack.__call__"},
    "steelman.attacks.attack_like": {"AttackLike.__call__"},
    "steelman.attacks.carlini_wagner.cw": {"cw"},
    "steelman.attacks.decision_based.boundary": {"boundary"},
    "steelman.attacks.ead": {"ead"},
    "steelman.defences.defense_gan": {"DefenseGAN.__init__"},
    "steelman.defences.robust": {"RobustAutoencoder.__init__"},
    "steelman.training.autoencoders": {"puvae"},
    "steelman.training.classifiers": {"classifier", "robust"},
    "steelman.training.detectors": {"detector"},
    "steelman.training.distilled": {"distilled"},
    "steelman.training.fit": {"fit"},
    "steelman.training.generators": {"defense_gan_encoder"},
    "steelman.training.objectives.pairing": {"logit_pairing"},
    "steelman.training.purifiers": {"certified_autoencoder", "purifier", "robust_autoencoder"},
    "steelman.training.trained": {"fitted"},
}
"""Those that take more: an attack's own call, the settings of a paper's attack or network, and trainings, each of which
also takes a recipe, a checkpoint, a device and who hears of it."""


def parameters(node, owner=""):
    """Yields (name, how many parameters) of every public function, method and constructor."""
    for child in node.body:
        hidden = getattr(child, "name", "_").startswith("_") and getattr(child, "name", "") not in {
            "__init__",
            "__call__",
        }
        if hidden:
            continue
        if isinstance(child, ast.ClassDef):
            yield from parameters(child, f"{child.name}.")
        elif isinstance(child, ast.FunctionDef):
            given = [*child.args.posonlyargs, *child.args.args, *child.args.kwonlyargs]
            yield f"{owner}{child.name}", len([one for one in given if one.arg not in {"self", "cls"}])


@public
def test_nothing_public_takes_many_parameters(module):
    many = {name for name, count in parameters(tree(module)) if count > PARAMETERS}
    assert many == MANY.get(module, set())


@public
def test_files_are_not_long(module):
    assert len(MODULES[module].read_text(encoding="utf-8").splitlines()) <= 350


def test_the_package_and_everything_in_it_can_be_read_as_a_catalogue():
    """One registry over one dict in the open for each kind of thing."""
    from steelman import attacks, defences, models
    from steelman.defences import detectors
    from steelman.evaluation import checks
    from steelman.registry import Registry
    from steelman.training import objectives

    listed = (attacks, defences, models, detectors, checks, objectives)
    for catalogue in (room.catalogue for room in listed):
        assert type(catalogue) is Registry
        assert type(catalogue.shipped) is dict
        assert all(callable(made) for made in catalogue.shipped.values())
        assert all(re.fullmatch(r"[a-z0-9_ -]+", name) for name in catalogue.shipped)
    groups = [room.catalogue.group for room in listed]
    assert len(set(groups)) == len(groups)
