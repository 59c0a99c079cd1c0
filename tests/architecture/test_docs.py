"""The pages say what is there: generated ones are current, hand-written ones leave nothing out."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest
from ruamel.yaml import YAML

from tenant_lifecycle import config, errors
from tenant_lifecycle.backups_file import BACKUPS_KEYS, TIER_KEYS
from tenant_lifecycle.cli.starting import starter
from tenant_lifecycle.erasure_file import ERASURE_KEYS
from tenant_lifecycle.gates_file import GATE_KEYS

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted([*DOCS.rglob("*.md"), *ROOT.glob("*.md"), ROOT / "notebooks" / "README.md"])


@pytest.fixture(scope="module")
def generate() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docs_generate", DOCS / "generate.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["cli.md", "errors.md", "exit-codes.md"])
def test_generated_pages_are_current(generate: ModuleType, name: str) -> None:
    kept = (DOCS / "reference" / name).read_text(encoding="utf-8")
    assert kept == generate.pages()[name], "run: python docs/generate.py"


def test_every_error_stands_in_the_reference() -> None:
    page = (DOCS / "reference" / "errors.md").read_text(encoding="utf-8")
    for name, cls in vars(errors).items():
        if isinstance(cls, type) and issubclass(cls, errors.LifecycleError):
            assert f"`{name}`" in page


def test_every_command_explains_itself(generate: ModuleType) -> None:
    found = dict(generate.helps())
    assert "tenantctl migrate start" in found
    for path, text in found.items():
        usage, _, rest = text.partition("\n\n")
        assert usage.startswith(f"Usage: {path}")
        assert rest.strip() and not rest.lstrip().startswith(("Options:", "Arguments:")), (
            f"{path} has no help"
        )


def test_commands_in_pages_and_next_steps_exist(generate: ModuleType) -> None:
    known = {path for path, _ in generate.helps()}
    groups = {path for path in known if any(other.startswith(path + " ") for other in known)}
    said: dict[str, str] = {}
    sources = [*PAGES, *(ROOT / "src").rglob("*.py"), *(ROOT / "src").rglob("*.yaml")]
    for source in sources:
        for match in re.finditer(r"tenantctl((?: [a-z][a-z-]*)+)", source.read_text(encoding="utf-8")):
            said.setdefault(match[1], str(source.relative_to(ROOT)))
    wrong = {}
    for words, place in said.items():
        parts = words.split()
        path = f"tenantctl {parts[0]}"
        if path in groups and len(parts) > 1:
            path = f"{path} {parts[1]}"
        if path not in known and parts[0] not in PROSE:
            wrong[words] = place
    assert wrong == {}


#: Words that follow "tenantctl" in a sentence and are no command.
PROSE = frozenset(
    {"starts", "is", "can", "and", "lists", "on", "says", "does", "runs", "here", "where", "with"}
)


def test_every_key_of_the_configuration_is_explained() -> None:
    page = (DOCS / "reference" / "config.md").read_text(encoding="utf-8")
    written = YAML(typ="safe", pure=True).load(starter("lifecycle.yaml"))
    for key in (
        *written,
        *config._POLICY_KEYS,
        *written["policies"]["flip"],
        *GATE_KEYS,
        *ERASURE_KEYS,
        *BACKUPS_KEYS,
        *TIER_KEYS,
        "command",
        "terraform",
        "timeout",
    ):
        assert re.search(rf"`[\w.]*\b{key}\b[\w.]*`|### {key}", page), key
    for strategy in config.Strategy:
        assert f"`{strategy.value}`" in page


def test_links_lead_somewhere() -> None:
    broken = []
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            if not target.startswith(("http://", "https://")) and not (page.parent / target).exists():
                broken.append(f"{page.relative_to(ROOT)} -> {target}")
    assert broken == []


def test_the_glossary_is_in_order_and_says_each_word_once() -> None:
    words = re.findall(
        r"^- \*\*([^*]+)\*\*", (DOCS / "glossary.md").read_text(encoding="utf-8"), re.MULTILINE
    )
    assert len(words) > 40
    assert words == sorted(words, key=str.lower)
    assert len(set(words)) == len(words)


@pytest.mark.parametrize(
    "word", ["fence", "flip", "feed", "epoch", "marker", "proof", "settle", "writer", "spool"]
)
def test_the_words_of_the_product_are_in_the_glossary(word: str) -> None:
    assert f"- **{word}**" in (DOCS / "glossary.md").read_text(encoding="utf-8")


def test_pages_use_the_glossarys_words() -> None:
    synonyms = re.compile(
        r"\b(switchover|cut-over|cutovers|blue-green deployment|leaderless|checksum diff)\b", re.IGNORECASE
    )
    found = [
        f"{page.relative_to(ROOT)}: {match[0]}"
        for page in PAGES
        for match in synonyms.finditer(page.read_text(encoding="utf-8"))
    ]
    assert found == []


def test_decisions_are_numbered_and_listed() -> None:
    index = (DOCS / "decisions" / "README.md").read_text(encoding="utf-8")
    records = sorted(path.name for path in (DOCS / "decisions").glob("0*.md"))
    assert [name[:4] for name in records] == [f"{number:04}" for number in range(1, len(records) + 1)]
    for name in records:
        assert f"({name})" in index
        title = (DOCS / "decisions" / name).read_text(encoding="utf-8").splitlines()[0]
        assert title.startswith(f"# {name[:4]} ")
