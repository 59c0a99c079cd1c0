"""The offline verifier stands alone: whoever checks a certificate runs nothing of whoever issued it."""

from __future__ import annotations

import ast
import sys
import tomllib
from pathlib import Path

PACKAGE = Path(__file__).parents[2] / "packages" / "tenant-certificate-verify"
SOURCE = PACKAGE / "src" / "tenant_certificate_verify"
#: What it may import beside the standard library and itself; the second only where a policy asks for time-stamps.
ALLOWED = {"cryptography": None, "rfc3161_client": "timestamp.py"}


def test_it_imports_cryptography_and_nothing_of_ours() -> None:
    files = sorted(SOURCE.glob("*.py"))
    assert len(files) > 5
    strangers = []
    for path in files:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, path
                names = [node.module or ""]
            for name in (one.partition(".")[0] for one in names):
                own = name in sys.stdlib_module_names or name == "tenant_certificate_verify"
                if not own and not (name in ALLOWED and ALLOWED[name] in (None, path.name)):
                    strangers.append(f"{path.name}: {name}")
    assert strangers == []


def test_it_never_speaks_to_a_network_or_another_program() -> None:
    banned = {"socket", "http", "urllib", "ssl", "subprocess", "asyncio", "ftplib", "smtplib"}
    for path in SOURCE.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import | ast.ImportFrom):
                module = node.module if isinstance(node, ast.ImportFrom) else node.names[0].name
                assert (module or "").partition(".")[0] not in banned, path


def test_it_depends_on_cryptography_alone() -> None:
    project = tomllib.loads((PACKAGE / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert [one.partition(">")[0] for one in project["dependencies"]] == ["cryptography"]
