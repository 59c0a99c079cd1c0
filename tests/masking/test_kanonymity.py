"""Nobody stands alone with a combination of quasi-identifiers, and nothing that is coarse becomes exact again."""

from __future__ import annotations

from collections import Counter

import pytest

from tenant_lifecycle.masking.gate import SetItems, check
from tenant_lifecycle.masking.keying import MaskingKey
from tenant_lifecycle.masking.masker import Masker
from tenant_lifecycle.masking.registry import Registry
from tenant_lifecycle.masking.setting import Target
from tenant_lifecycle.masking_file import read_registry
from tenant_lifecycle.model.backup.items import Item
from tenant_lifecycle.model.backup.shape import Column, Shape
from tenant_lifecycle.stores.postgres.backup.form import key_of
from tenant_lifecycle.yaml_file import parse

SHAPE = Shape("staff", (Column("id", "uuid", nullable=False), Column("born", "date", nullable=False), Column("zip", "text"),
                        Column("job", "text", nullable=False), Column("pay", "numeric(10,2)")), ("id",))  # fmt: skip


def registry() -> Registry:
    text = """
version: 1
stores:
  postgres:
    staff:
      data: metadata
      columns:
        id: subject_id
        born: {class: quasi, kind: year, years: 10}
        zip: {class: quasi, kind: prefix, keep: 2}
        job: {class: quasi, kind: category, otherwise: other}
        pay: {class: quasi, kind: aggregate, by: job}
"""
    return read_registry(parse(text, "masking.yaml", substitute=False))


def staff() -> list[Item]:
    people = [(1980 + n % 10, f"10{n:03}", "clerk", 1000 + n) for n in range(12)]
    people += [(1990 + n % 10, f"80{n:03}", "clerk", 2000 + n) for n in range(5)]
    people += [(1950, "10999", "astronaut", 900_000), (1990, "80111", "judge", 50_000)]
    found = []
    for n, (year, zip_, job, pay) in enumerate(people):
        cells = tuple(
            str(one).encode()
            for one in (f"{n:08x}-0000-4000-8000-000000000000", f"{year}-03-04", zip_, job, f"{pay}.00")
        )
        found.append(Item("staff", key_of(SHAPE, cells), cells))
    return found


def cloned(items: list[Item]) -> tuple[Masker, list[Item]]:
    masker = Masker(
        registry(),
        MaskingKey(b"k" * 32, "acme", "copy"),
        Target("acme", "copy"),
        row_keys={"postgres": key_of},
    )
    masker.prepare("postgres", SHAPE, items)
    masker.ready()
    return masker, list(masker.mask("postgres", SHAPE, items))


def test_groups_have_k_rows_or_say_nothing() -> None:
    masker, clone = cloned(staff())
    sizes = Counter(item.cells[1:4] for item in clone)
    assert sizes == {
        (b"1980-01-01", b"10000", b"clerk"): 12,
        (b"1990-01-01", b"80000", b"clerk"): 5,
        (b"1900-01-01", None, b"other"): 2,
    }
    report = check(masker, [SetItems("postgres", SHAPE, staff())], [SetItems("postgres", SHAPE, clone)])
    assert report.passed, report.document()


def test_amounts_are_means_of_k_or_more() -> None:
    _, clone = cloned(staff())
    pays = Counter(item.cells[4] for item in clone)
    assert pays == {b"1298.59": 17, None: 2}


@pytest.mark.parametrize(
    "leak", [(b"1950-01-01", b"10000", b"astronaut"), (b"1980-01-01", b"10000", b"judge")]
)
def test_the_gate_finds_a_small_group(leak: tuple[bytes, ...]) -> None:
    masker, clone = cloned(staff())
    first = clone[0]
    clone[0] = Item("staff", first.key, (first.cells[0], *leak, first.cells[4]))
    report = check(masker, [SetItems("postgres", SHAPE, staff())], [SetItems("postgres", SHAPE, clone)])
    assert [one.name for one in report.checks if not one.passed] == ["groups"]
