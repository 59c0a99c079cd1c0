"""Rules about the source that a reviewer would otherwise have to count."""

from __future__ import annotations

import ast
import importlib
import os
import pkgutil
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import tenant_lifecycle
from tenant_lifecycle import errors

ROOT = Path(__file__).parents[2]
SRC = ROOT / "src"
MOST_LINES_OF_A_FUNCTION, MOST_LINES_OF_A_MODULE = 60, 500
#: Functions (``file::name``) and modules that may be longer, each with a reason beside it. Empty is right.
LONGER_ALLOWED: frozenset[str] = frozenset()


def modules() -> Iterator[Path]:
    found = sorted(SRC.rglob("*.py"))
    assert len(found) > 50
    yield from found


def test_the_import_contracts_hold() -> None:
    program = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run(
        [program, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": str(SRC), "COLUMNS": "200"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 broken" in done.stdout


def test_functions_fit_on_a_screen() -> None:
    long = []
    for path in modules():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno is not None:
                name = f"{path.relative_to(SRC)}::{node.name}"
                if (
                    node.end_lineno - node.lineno + 1 > MOST_LINES_OF_A_FUNCTION
                    and name not in LONGER_ALLOWED
                ):
                    long.append(name)
    assert long == []


def test_modules_tell_one_story() -> None:
    long = {
        str(path.relative_to(SRC)): lines
        for path in modules()
        if (lines := len(path.read_text(encoding="utf-8").splitlines())) > MOST_LINES_OF_A_MODULE
    }
    assert set(long) - LONGER_ALLOWED == set(), long


def test_every_module_begins_with_its_story() -> None:
    silent = [
        str(path.relative_to(SRC))
        for path in modules()
        if path.stat().st_size and not ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    ]
    assert silent == []


def test_no_module_is_named_after_nothing() -> None:
    vague = {"utils", "util", "helpers", "helper", "manager", "common", "misc"}
    assert [path.name for path in modules() if path.stem in vague or path.parent.name in vague] == []


def test_what_all_names_is_there() -> None:
    for package in ("tenant_lifecycle", "l3_m14_tenant_lifecycle"):
        importlib.import_module(package)
    for found in pkgutil.walk_packages(tenant_lifecycle.__path__, "tenant_lifecycle."):
        if found.name.endswith(("__main__", "migrations.env")):
            # Programs: the first is tenantctl itself, the second is run by Alembic only.
            continue
        module = importlib.import_module(found.name)
        names = getattr(module, "__all__", [])
        assert [name for name in names if not hasattr(module, name)] == [], found.name
        assert len(names) == len(set(names)), found.name


def test_the_tree_in_errors_is_the_tree_of_classes() -> None:
    drawn: dict[str, str] = {}
    stack: list[tuple[int, str]] = []
    for line in (errors.__doc__ or "").splitlines():
        match = re.match(r"^( *[│├└─ ]*)([A-Z]\w+)", line)
        if match is None or match[2] not in vars(errors):
            continue
        depth = len(match[1])
        while stack and stack[-1][0] >= depth:
            stack.pop()
        drawn[match[2]] = stack[-1][1] if stack else "Exception"
        stack.append((depth, match[2]))
    real = {
        name: cls.__base__.__name__
        for name, cls in vars(errors).items()
        if isinstance(cls, type) and issubclass(cls, errors.LifecycleError) and cls.__base__ is not None
    }
    assert drawn == real


def test_the_tree_says_which_errors_are_retryable() -> None:
    for name, cls in vars(errors).items():
        if isinstance(cls, type) and issubclass(cls, errors.LifecycleError) and name != "LifecycleError":
            line = next(li for li in (errors.__doc__ or "").splitlines() if f"─ {name} " in f"{li} ")
            assert ("retryable" in line) is cls.retryable, name


def test_the_changelogs_newest_version_is_the_packages() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    versions = re.findall(
        r"^## \[([^\]]+)\]", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE
    )
    assert next(v for v in versions if v != "Unreleased") == project["version"]


def test_the_constraints_name_no_package_index() -> None:
    text = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    assert "://" not in text
    assert not re.search(r"^-", text, re.MULTILINE)
