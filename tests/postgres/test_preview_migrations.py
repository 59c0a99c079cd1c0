"""A base of an older schema is brought to today's by the application's own migrations, or what differs is named."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import psycopg
import pytest
from restore_sample import A, ask, every_row, load, nothing, promote, read, run, unequal

from tenant_lifecycle.errors import ConfigError, PreconditionRefused, StoreRejected
from tenant_lifecycle.model.backup.shape import Shape
from tenant_lifecycle.model.findings import Severity, refusals
from tenant_lifecycle.model.names import TableName
from tenant_lifecycle.model.ownership import Direct, Global, Hop, OwnershipMap, Root, Via
from tenant_lifecycle.stores.backing import Migrates
from tenant_lifecycle.stores.postgres.backup.hooks import files_between, read_hook
from tenant_lifecycle.stores.postgres.database import Database
from tenant_lifecycle.stores.postgres.options import Options, read_options
from tenant_lifecycle.stores.postgres.store import PostgresStore

T = TableName.parse
MAP = OwnershipMap(
    {
        T("tenants"): Root("id"),
        T("docs"): Direct("tenant_id"),
        T("tags"): Via((Hop(("doc_id",), T("docs"), ("id",)),)),
        T("plans"): Global(),
        T("schema_version"): Global(),
        T("alembic_version"): Global(),
    }
)
ONE = """
CREATE TYPE mood AS ENUM ('glad', 'sad');
CREATE TABLE plans (id int PRIMARY KEY, name text);
CREATE TABLE tenants (id text PRIMARY KEY, plan int);
CREATE TABLE docs (id bigserial PRIMARY KEY, tenant_id text NOT NULL REFERENCES tenants, title text, legacy text,
                   size text DEFAULT '7', CONSTRAINT short CHECK (length(title) < 100));
CREATE INDEX docs_title ON docs (title);
"""
TWO = """
ALTER TABLE docs ADD COLUMN lang text NOT NULL DEFAULT 'en';
ALTER TABLE docs ALTER COLUMN size DROP DEFAULT, ALTER COLUMN size TYPE integer USING size::integer;
ALTER TABLE docs DROP CONSTRAINT short;
"""
THREE = """
CREATE TABLE tags (doc_id bigint REFERENCES docs ON DELETE CASCADE, tag text, PRIMARY KEY (doc_id, tag));
INSERT INTO tags SELECT id, legacy FROM docs WHERE legacy IS NOT NULL;
ALTER TABLE docs DROP COLUMN legacy;
ALTER TABLE docs RENAME COLUMN title TO heading;
DROP INDEX docs_title;
CREATE INDEX docs_heading ON docs (heading);
ALTER TABLE docs ADD COLUMN feeling mood DEFAULT 'glad';
"""
STEPS = {"0001_start": ONE, "0002_sizes": TWO, "0003_tags": THREE}
VERSION = "SELECT max(version) FROM public.schema_version"
ROWS = """
INSERT INTO tenants VALUES ('a'), ('b');
INSERT INTO docs (tenant_id, title, legacy) SELECT t, 't' || i, CASE WHEN i % 2 = 0 THEN 'old' || i END
  FROM unnest(ARRAY['a', 'b']) t, generate_series(1, 10) i;
"""


@pytest.fixture(params=[16, 18])
def database(request: pytest.FixtureRequest, new_database: Callable[..., str]) -> Iterator[Database]:
    """At step one, with rows of two tenants."""
    database = Database("blue/postgres", "blue", new_database(request.param), MAP)
    run(database, "CREATE TABLE schema_version (version text)")
    apply(database, "0001_start")
    run(database, ROWS)
    yield database
    database.close()


def apply(database: Database, *steps: str) -> None:
    """What a deployment does to the live tables."""
    with psycopg.connect(database.dsn, autocommit=True) as conn:
        conn.execute("SET search_path = public")
        for step in steps:
            conn.execute(STEPS[step].encode())
            conn.execute("INSERT INTO schema_version VALUES (%s)", (step,))


def folder_of(tmp_path: Path, steps: Mapping[str, str] = STEPS) -> Path:
    folder = tmp_path / "migrations"
    folder.mkdir()
    for name, text in steps.items():
        (folder / f"{name}.sql").write_text(text)
    return folder


def opened(database: Database, migrations: str | None) -> PostgresStore:
    settings = {"migration_version": VERSION} | ({"migrations": migrations} if migrations else {})
    return PostgresStore(database, read_options(database.name, settings))


def test_columns_that_do_not_fit_are_refused_by_name(database: Database) -> None:
    store = opened(database, None)
    base = read(store)
    apply(database, "0002_sizes", "0003_tags")
    found = store.check_restore(A, base.reading.shapes, base.reading.facts)
    said = " | ".join(one.message for one in found)
    assert {one.code for one in found} == {"pg.column-mismatch"} == {one.code for one in refusals(found)}
    for what in (
        "public.docs lacks column legacy (text)",
        "public.docs lacks column title (text)",
        "public.docs has column heading (text), which the backup has not",
        "public.docs has column size as integer, the backup as text",
        "public.docs has column lang (text), which the backup has not",
        "table public.tags is newer than the backup",
    ):
        assert what in said
    preview = load(store, base)  # to look at it is possible
    before = every_row(database)
    for attempt in (lambda: promote(preview), lambda: preview.diff(1, nothing), lambda: _migrate(preview)):
        with pytest.raises(PreconditionRefused, match="lacks column legacy"):
            attempt()
    assert every_row(database) == before


def test_sql_files_bring_an_older_base_to_todays_schema(database: Database, tmp_path: Path) -> None:
    store = opened(database, f"sql:{folder_of(tmp_path)}")
    base = read(store)
    apply(database, "0002_sizes", "0003_tags")
    after_deployment = every_row(database)
    found = store.check_restore(A, base.reading.shapes, base.reading.facts)
    assert not refusals(found) and {one.severity for one in found} == {Severity.WARNING}
    run(
        database,
        "DELETE FROM docs WHERE tenant_id = 'a' AND id > 3",
        "UPDATE docs SET heading = 'x' WHERE id = 1",
    )
    preview = load(store, base)
    shapes = _migrate(preview)
    assert {"public.docs", "public.tags"} < set(shapes)
    assert unequal(preview) == {"public.docs": (7, 0, 1), "public.tags": (4, 0, 0)}
    assert _migrate(preview) == shapes
    promote(preview)
    assert every_row(database) == after_deployment
    # The column that is no more is kept beside, with its key, until the preview is discarded.
    kept = ask(database, "SELECT id, legacy FROM tl_preview_test._orphaned_docs WHERE id = 2")
    assert kept == [(2, "old2")]
    preview.discard()
    assert store.previews() == []


def test_only_what_lies_between_the_versions_is_run(database: Database, tmp_path: Path) -> None:
    store = opened(database, f"sql:{folder_of(tmp_path)}")
    base = read(store)
    apply(database, "0002_sizes")
    preview = load(store, base)
    shapes = _migrate(preview)
    assert [column.name for column in shapes["public.docs"].columns][
        -1
    ] == "lang" and "public.tags" not in shapes
    promote(preview)
    assert unequal(preview) == {}


def test_a_backup_newer_than_the_schema_is_refused_by_name(database: Database, tmp_path: Path) -> None:
    """The deployment was rolled back; no migration leads backwards."""
    apply(database, "0002_sizes")
    store = opened(database, f"sql:{folder_of(tmp_path)}")
    base = read(store)
    run(
        database,
        "ALTER TABLE docs DROP COLUMN lang, ALTER size TYPE text",
        "DELETE FROM schema_version WHERE version = '0002_sizes'",
    )
    preview = load(store, base)
    with pytest.raises(PreconditionRefused, match="lacks column lang"):
        _migrate(preview)


def test_a_migration_that_fails_leaves_the_preview_as_it_was(database: Database, tmp_path: Path) -> None:
    folder = folder_of(tmp_path, {**STEPS, "0003_tags": THREE + "; SELECT 'anna@testdomain.example'::int;"})
    store = opened(database, f"sql:{folder}")
    base = read(store)
    apply(database, "0002_sizes", "0003_tags")
    preview = load(store, base)
    with pytest.raises(StoreRejected, match=r"0003_tags\.sql") as refused:
        _migrate(preview)
    assert "anna" not in str(refused.value)
    (folder / "0003_tags.sql").write_text(THREE)
    _migrate(preview)
    promote(preview)
    assert unequal(preview) == {}


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE plans SET name = 'x'",
        "ALTER TABLE public.docs ADD COLUMN oops int",
        "INSERT INTO public.tenants VALUES ('c')",
        "UPDATE plans SET name = 'x';\nCOMMIT;",
    ],
)
def test_a_migration_that_touches_what_is_live_is_undone(
    database: Database, tmp_path: Path, statement: str
) -> None:
    store = opened(database, f"sql:{folder_of(tmp_path, {**STEPS, '0002_sizes': TWO + statement})}")
    base = read(store)
    apply(database, "0002_sizes")
    run(database, "INSERT INTO plans VALUES (1, 'gold')")
    before = every_row(database)
    preview = load(store, base)
    with pytest.raises(StoreRejected, match=r"which is live|of its own"):
        _migrate(preview)
    assert every_row(database) == before


ENV = """
import os
from alembic import context
from sqlalchemy import create_engine
engine = create_engine(os.environ["APPLICATION_URL"])
with engine.connect() as connection:
    context.configure(connection=connection, target_metadata=None)
    with context.begin_transaction():
        context.run_migrations()
    connection.commit()
"""
REVISION = """
from alembic import op
revision = {name!r}
down_revision = {before!r}
def upgrade():
    op.execute({text!r})
def downgrade():
    raise NotImplementedError
"""


@pytest.fixture
def alembic(database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An application's Alembic that knows nothing of previews; it has brought the live tables to step one."""
    versions = tmp_path / "alembic" / "versions"
    versions.mkdir(parents=True)
    (tmp_path / "alembic" / "env.py").write_text(ENV)
    before = None
    for name, text in STEPS.items():
        (versions / f"{name}.py").write_text(REVISION.format(name=name, before=before, text=text))
        before = name
    ini = tmp_path / "alembic.ini"
    ini.write_text(f"[alembic]\nscript_location = {tmp_path}/alembic\n")
    info = psycopg.conninfo.conninfo_to_dict(database.dsn)
    url = f"postgresql+psycopg://{info['user']}@{info['host']}:{info['port']}/{info['dbname']}"
    monkeypatch.setenv("APPLICATION_URL", url)
    run(database, "CREATE TABLE alembic_version (version_num varchar(32) PRIMARY KEY)")
    run(database, "INSERT INTO alembic_version VALUES ('0001_start')")
    yield ini


def upgrade_live(ini: Path, to: str) -> None:
    subprocess.run(
        [sys.executable, "-m", "alembic", "-c", str(ini), "upgrade", to], check=True, env=os.environ
    )


def test_alembic_brings_an_older_base_to_todays_schema(database: Database, alembic: Path) -> None:
    store = PostgresStore(database, read_options(database.name, {"migrations": f"alembic:{alembic}"}))
    base = read(store)
    assert base.reading.facts["migration"] == "0001_start"
    upgrade_live(alembic, "head")
    after_deployment = every_row(database)
    run(database, "DELETE FROM docs WHERE tenant_id = 'a'")
    preview = load(store, base)
    _migrate(preview)
    assert ask(database, "SELECT version_num FROM tl_preview_test.alembic_version") == [("0003_tags",)]
    promote(preview)
    assert every_row(database) == after_deployment


def test_alembic_that_fails_is_told_without_what_it_printed(database: Database, alembic: Path) -> None:
    store = PostgresStore(database, read_options(database.name, {"migrations": f"alembic:{alembic}"}))
    base = read(store)
    upgrade_live(alembic, "0002_sizes")
    preview = load(store, base)
    file = alembic.parent / "alembic" / "versions" / "0002_sizes.py"
    good = file.read_text()
    file.write_text(
        good.replace("def downgrade", "    raise ValueError('anna@testdomain.example')\ndef downgrade")
    )
    with pytest.raises(StoreRejected, match=r"ended with 1 \(ValueError\)") as refused:
        _migrate(preview)
    assert "anna" not in str(refused.value)
    file.write_text(good)
    _migrate(preview)
    promote(preview)
    assert unequal(preview) == {}


def test_a_command_is_run_with_the_preview_first_in_its_search_path(
    database: Database, tmp_path: Path
) -> None:
    script = tmp_path / "migrate.py"
    script.write_text(
        "import os, psycopg\n"
        f"with psycopg.connect(os.environ['TENANT_LIFECYCLE_DSN']) as conn:\n    conn.execute({TWO!r})\n"
    )
    store = opened(database, f"command:{sys.executable} {script}")
    base = read(store)
    apply(database, "0002_sizes")
    preview = load(store, base)
    _migrate(preview)
    promote(preview)
    assert unequal(preview) == {}


def test_a_command_ends_when_the_work_is_stopped(database: Database) -> None:
    store = opened(database, f"command:{sys.executable} -c 'import time; time.sleep(600)'")
    base = read(store)
    apply(database, "0002_sizes")
    preview = load(store, base)

    def stop() -> None:
        raise InterruptedError

    assert isinstance(preview, Migrates)
    with pytest.raises(InterruptedError):
        preview.migrate(stop)


def test_files_are_chosen_by_the_version_they_are_of(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, dict.fromkeys(("1", "10_c", "2-b", "20_d"), ""))
    assert [file.stem for file in files_between(folder, "10", None)] == ["2-b", "20_d"]
    assert [file.stem for file in files_between(folder, "1", "2")] == ["10_c", "2-b"]
    assert files_between(folder, "2", "10") == []
    for unknown in ("3", None, "*", "20_"):
        with pytest.raises(ConfigError, match="no file"):
            files_between(folder, unknown, None)


@pytest.mark.parametrize("text", ["", "sql", "sql:", "flyway:x", "sql:/not/there", "alembic:/not/there.ini"])
def test_a_setting_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="migrations"):
        read_hook("blue/postgres", text)
    assert read_hook("blue/postgres", None) is None and Options().migrations is None


def _migrate(preview: object) -> Mapping[str, Shape]:
    assert isinstance(preview, Migrates)
    return preview.migrate(nothing)
