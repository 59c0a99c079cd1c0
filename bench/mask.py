"""How fast a tenant is masked: whole rows, names, ids, prose.

The peer is what one writes first: Faker, seeded with the value so that the same value gives the same name, called for
each of them. It masks the same two columns of a row, keeps nothing apart, and knows no prose. Timed by the processor
time of this process; best of three in turn.
"""

from __future__ import annotations

import hashlib
import random
import time
import uuid
from collections.abc import Callable, Sequence

from faker import Faker

from bench.report import Budget, Figure, Report
from tenant_lifecycle.masking.keying import MaskingKey
from tenant_lifecycle.masking.masker import Masker
from tenant_lifecycle.masking.registry import Registry
from tenant_lifecycle.masking.setting import Target
from tenant_lifecycle.masking_file import read_registry
from tenant_lifecycle.model.backup.items import Item
from tenant_lifecycle.model.backup.shape import Column, Shape
from tenant_lifecycle.sandbox.text import Writer
from tenant_lifecycle.yaml_file import parse

ROUNDS = 3
SHAPE = Shape(
    "people",
    tuple(Column(name, kind, nullable=False) for name, kind in (("id", "uuid"), ("email", "text"), ("name", "text"), ("plan", "text"))),
    ("id",),
)  # fmt: skip
NOTES = Shape(
    "notes", (Column("id", "bigint", nullable=False), Column("body", "text", nullable=False)), ("id",)
)
_REGISTRY = """
version: 1
stores:
  postgres:
    people:
      data: configs
      columns: {id: subject_id, email: {class: direct, kind: email}, name: {class: direct, kind: name}, plan: public}
    notes:
      data: documents
      columns: {id: {class: identifier, kind: integer, domain: note}, body: free_text}
"""


def run(quick: bool, progress: Callable[[str], None]) -> Report:
    """Measure; ``quick`` only shows that it runs."""
    people, notes = _people(200 if quick else 20_000), _notes(20 if quick else 2_000)
    faker = Faker()
    progress(f"{len(people)} rows of people")
    fresh = [_masker(people, []) for _ in range(ROUNDS)]
    row = _rates(people, lambda: _drain(fresh.pop(), SHAPE, people), lambda: _fake(faker, people))
    learned = _rates(people, lambda: _masker(people, []), None)
    masker = _masker(people, notes)
    names = [f"Person {number}" for number in range(len(people))]
    progress("names alone, ids, prose")
    name = _rates(
        names,
        lambda: _names(masker, names),
        lambda: [_seeded(faker, one).name() for one in names[: len(names) // 20]],
        20,
    )
    ids = _rates(people, lambda: _ids(masker, len(people)), None)
    size = sum(len(item.cells[1] or b"") for item in notes) / 1e6
    prose = _rates(notes, lambda: _drain(masker, NOTES, notes), None)
    return Report(
        "mask",
        (
            Figure("rows with id, e-mail and name", "rows/s", row[0], row[1], "Faker seeded and called per value", "higher",
                   (Budget("ratio", "at least", 5),)),
            Figure("names", "values/s", name[0], name[1], "Faker seeded and called per value", "higher", (Budget("ratio", "at least", 10),)),
            Figure("people learned, every form of their names, first pass", "people/s", learned[0], None, "no peer: Faker knows nobody", "higher"),
            Figure("integer ids, each for the first time", "ids/s", ids[0], None, "no peer: a permutation has no table", "higher"),
            Figure("prose", "MB/s", prose[0] / len(notes) * size, None, "no peer: Faker does not read", "higher"),
        ),
        {"rows": len(people), "known people": len(people), "prose MB": round(size, 2)},
    )  # fmt: skip


def _rates(
    values: Sequence[object], ours: Callable[[], object], peer: Callable[[], object] | None, share: int = 1
) -> tuple[float, float | None]:
    """Values a second of each side; the peer does one ``share``-th of them."""
    best, other = 0.0, 0.0
    for _ in range(ROUNDS):
        best = max(best, len(values) / _seconds(ours))
        if peer is not None:
            other = max(other, len(values) / share / _seconds(peer))
    return best, other if peer is not None else None


def _seconds(work: Callable[[], object]) -> float:
    began = time.process_time()
    work()
    return max(time.process_time() - began, 1e-9)


def _drain(masker: Masker, shape: Shape, items: Sequence[Item]) -> None:
    for _ in masker.mask("postgres", shape, items):
        pass


def _fake(faker: Faker, people: Sequence[Item]) -> None:
    for item in people:
        _seeded(faker, item.cells[1]).email()
        _seeded(faker, item.cells[2]).name()


def _seeded(faker: Faker, value: object) -> Faker:
    faker.seed_instance(hashlib.sha256(str(value).encode()).digest())
    return faker


def _names(masker: Masker, names: Sequence[str]) -> None:
    masker.setting.names.of.cache_clear()
    for one in names:
        _ = masker.setting.names.of(one).full


def _ids(masker: Masker, count: int) -> None:
    masker.setting._integers.clear()
    ids = masker.setting.integers("note")
    for number in range(1, min(count, masker.setting.id_range("note").size)):
        ids(number)


def _people(count: int) -> list[Item]:
    chance = random.Random(1)
    writer = Writer(chance)
    found = []
    for number in range(count):
        name, local = writer.person()
        id = str(uuid.UUID(int=chance.getrandbits(128), version=4)).encode()
        full = f"{name} {_letters(number)}".encode()
        found.append(Item("people", id, (id, f"{local}.{number}@corp.example".encode(), full, b"gold")))
    return found


def _letters(number: int) -> str:
    """A family name of its own for everybody."""
    return "Q" + "".join(chr(97 + number // 26**place % 26) for place in range(4))


def _notes(count: int) -> list[Item]:
    writer = Writer(random.Random(2))
    return [
        Item(
            "notes",
            str(number).encode(),
            (str(number).encode(), f"{writer.text(1)} Said {writer.person()[0]}.".encode()),
        )
        for number in range(1, count + 1)
    ]


def _masker(people: Sequence[Item], notes: Sequence[Item]) -> Masker:
    registry: Registry = read_registry(parse(_REGISTRY, "bench", substitute=False))
    key = MaskingKey(b"b" * 32, "acme", "copy")
    masker = Masker(
        registry,
        key,
        Target("acme", "copy"),
        row_keys={"postgres": lambda _shape, cells, _number: cells[0] or b""},
    )
    masker.prepare("postgres", SHAPE, people)
    masker.prepare("postgres", NOTES, notes)
    masker.ready()
    return masker
