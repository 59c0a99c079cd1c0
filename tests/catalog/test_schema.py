"""The tables are what the migrations make, on both databases."""

from __future__ import annotations

import threading
from pathlib import Path

import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from tenant_lifecycle.catalog import migrations
from tenant_lifecycle.catalog.database import ControlDatabase
from tenant_lifecycle.catalog.tables import metadata


def shape(db: ControlDatabase) -> dict[str, object]:
    """Everything the database says about its tables: columns, keys, checks, and the text of the indexes."""
    with db.reading() as conn:
        look = sa.inspect(conn)
        names = sorted(name for name in look.get_table_names() if name not in ("alembic_version",))
        tables: dict[str, object] = {}
        for name in names:
            tables[name] = (
                [
                    (c["name"], str(c["type"]), c["nullable"], c.get("identity"))
                    for c in look.get_columns(name)
                ],
                look.get_pk_constraint(name),
                sorted(look.get_foreign_keys(name), key=str),
                sorted(look.get_check_constraints(name), key=str),
            )
        if db.sqlite:
            query = "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL ORDER BY 1"
        else:
            query = "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1"
        indexes = [tuple(row) for row in conn.execute(sa.text(query)) if not row[0].startswith("alembic")]
        return {**tables, "indexes": indexes}


def test_the_tables_are_what_all_migrations_make(control: ControlDatabase) -> None:
    with control.writing() as conn:
        assert compare_metadata(MigrationContext.configure(conn), metadata) == []
    migrated = shape(control)
    with control.writing() as conn:
        metadata.drop_all(conn)
        metadata.create_all(conn)
    assert shape(control) == migrated


def test_the_version_the_code_needs_is_the_newest_migration(control: ControlDatabase) -> None:
    folder = Path(migrations.__file__).parent
    assert ScriptDirectory(str(folder)).get_current_head() == migrations.HEAD
    assert migrations.current(control) == migrations.HEAD


def test_many_processes_may_migrate_at_once(control: ControlDatabase) -> None:
    with control.writing() as conn:
        metadata.drop_all(conn)
        conn.execute(sa.text("DROP TABLE alembic_version"))
    assert migrations.current(control) is None
    failures: list[BaseException] = []

    def migrate() -> None:
        try:
            migrations.upgrade(control)
        except BaseException as error:
            failures.append(error)

    # Alembic's own context is a global of the process: here threads only show that the database serialises,
    # one after the other in each process.
    first = threading.Thread(target=migrate)
    first.start()
    first.join()
    migrate()
    assert not failures
    assert migrations.current(control) == migrations.HEAD
