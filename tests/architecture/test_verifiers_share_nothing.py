"""What searches for residue shares no listing with what deletes: neither directly nor through a third module."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

STORES = Path(__file__).parents[2] / "src" / "tenant_lifecycle" / "stores"
#: How the eraser lists and deletes.
ERASER = {"doomed", "erase", "erasing", "inventory", "remove", "removal", "settle"}
SEARCHERS = sorted(STORES.glob("*/search*.py"))


def imported(module: Path) -> set[str]:
    """Names of the modules of the same store that a module imports."""
    package = f"tenant_lifecycle.stores.{module.parent.name}"
    found: set[str] = set()
    for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module == package:
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.startswith(f"{package}."):
            found.add(node.module.removeprefix(f"{package}.").partition(".")[0])
        elif isinstance(node, ast.Import):
            found |= {
                name.name.removeprefix(f"{package}.")
                for name in node.names
                if name.name.startswith(f"{package}.")
            }
    return found


def reached(module: Path) -> set[str]:
    seen: set[str] = set()
    waiting = [module]
    while waiting:
        for name in imported(waiting.pop()) - seen:
            seen.add(name)
            path = module.parent / f"{name}.py"
            if path.exists():
                waiting.append(path)
    return seen


@pytest.mark.parametrize("module", SEARCHERS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_a_searcher_reaches_nothing_of_the_eraser(module: Path) -> None:
    assert reached(module) & ERASER == set()


def test_there_are_searchers_to_look_at() -> None:
    assert {path.parent.name for path in SEARCHERS} >= {"postgres", "redis", "s3"}
