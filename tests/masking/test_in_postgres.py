"""A masked clone beside all other tenants in a real database, every constraint in force."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import psycopg
import pytest
from psycopg import sql

from masking.corpus import FORMS, sandbox_registry
from sample_fixtures import SandboxPair
from tenant_lifecycle.masking.gate import SetItems, check
from tenant_lifecycle.masking.keying import MaskingKey
from tenant_lifecycle.masking.masker import Masker
from tenant_lifecycle.masking.setting import Target
from tenant_lifecycle.model.backup.items import Item
from tenant_lifecycle.model.backup.shape import Shape
from tenant_lifecycle.model.names import TableName, TenantId
from tenant_lifecycle.stores.postgres.backup.form import key_of, line_of
from tenant_lifecycle.stores.postgres.database import Database
from tenant_lifecycle.stores.postgres.owned import columns_sql, table_sql
from tenant_lifecycle.stores.postgres.store import PostgresStore

Base = dict[str, tuple[Shape, list[Item]]]


#: Of the registry, where parents stand before their children.
_ORDER = list(sandbox_registry().stores["postgres"])


def go_on() -> None:
    """A check that never objects."""


@dataclass
class Stage:
    dsn: str
    store: PostgresStore

    def base(self, tenant: str) -> Base:
        with self.store.read_base(TenantId(tenant), go_on) as reading:
            return {name: (shape, list(reading.items(name))) for name, shape in reading.shapes.items()}

    def load(self, clone: Base) -> None:
        """By COPY, parents first; the application's triggers and every constraint are on."""
        with psycopg.connect(self.dsn) as conn:
            for name in sorted(clone, key=lambda one: _ORDER.index(one.removeprefix("public."))):
                shape, items = clone[name]
                columns = columns_sql(tuple(column.name for column in shape.columns))
                into = sql.SQL("COPY {} ({}) FROM STDIN").format(table_sql(TableName.parse(name)), columns)
                with conn.cursor().copy(into) as copy:
                    for item in items:
                        copy.write(line_of(item.cells))


@pytest.fixture(params=[16, 18])
def stage(request: pytest.FixtureRequest, sandbox_pair: Callable[..., SandboxPair]) -> Stage:
    pair = sandbox_pair(blue=request.param, green=request.param)
    return Stage(pair.blue, PostgresStore(Database("blue/postgres", "blue", pair.blue, pair.map)))


def masker_for(tenant: str, target: str, name: str) -> Masker:
    registry = sandbox_registry()
    goes_to = Target(tenant, target, aliases=(name,), target_name="Staging", email_label="staging")
    return Masker(
        registry, MaskingKey(b"m" * 32, tenant, target), goes_to, row_keys={"postgres": key_of}, forms=FORMS
    )


@pytest.mark.parametrize(
    ("tenant", "name"),
    [
        ("acme", "Acme Manufacturing"),
        ("o'neill & sons", "O'Neill & Sons Legal"),
        ("12", "Northwind Logistics Iberia"),
    ],
)
def test_a_clone_lives_beside_its_source_and_keeps_every_constraint(
    stage: Stage, tenant: str, name: str
) -> None:
    source = stage.base(tenant)
    masker = masker_for(tenant, "the-copy", name)
    for shape, items in source.values():
        masker.prepare("postgres", shape, items)
    masker.ready()
    assert not [
        f
        for f in masker.findings("postgres", {n: s for n, (s, _) in source.items()})
        if f.severity == "refusal"
    ]
    for need in masker.id_needs():
        start = stage.store.reserve_ids(need.set, need.column, need.size)
        assert start is not None, need
        masker.start_ids(need.domain, start)
    clone = {n: (shape, list(masker.mask("postgres", shape, items))) for n, (shape, items) in source.items()}
    stage.load(clone)
    loaded = stage.base("the-copy")
    for set_name, (_, items) in clone.items():
        assert sorted(items, key=lambda one: one.key) == sorted(
            loaded[set_name][1], key=lambda one: one.key
        ), set_name
    assert stage.base(tenant) == source
    report = check(
        masker,
        [SetItems("postgres", shape, items) for shape, items in source.values()],
        [SetItems("postgres", shape, items) for shape, items in loaded.values()],
    )
    assert report.passed, report.document()


def test_ids_are_reserved_once_and_only_where_a_sequence_is(stage: Stage) -> None:
    one = stage.store.reserve_ids("public.messages", "id", 500) or 0
    other = stage.store.reserve_ids("public.messages", "id", 500) or 0
    assert other >= one + 500
    with psycopg.connect(stage.dsn) as conn:
        (drawn,) = conn.execute("SELECT nextval('messages_id_seq')").fetchone() or (0,)
        assert drawn >= other + 500
    assert stage.store.reserve_ids("public.messages", "tokens", 5) is None
