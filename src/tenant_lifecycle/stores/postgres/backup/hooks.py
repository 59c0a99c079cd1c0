"""Running an application's migrations on a preview: SQL files, Alembic, or a command of its own."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import IO

import psycopg
from psycopg import sql

from tenant_lifecycle.errors import ConfigError, StoreRejected
from tenant_lifecycle.model.names import TableName
from tenant_lifecycle.stores.base import Check
from tenant_lifecycle.stores.postgres.connection import Connection

#: Statements that would end the one transaction which all files are run in. (``BEGIN`` of a function has no semicolon.)
_ENDS = re.compile(
    rb"^\s*(BEGIN|START\s+TRANSACTION|COMMIT|ROLLBACK)(\s+(WORK|TRANSACTION))?\s*;", re.I | re.M
)


class HookKind(StrEnum):
    """What runs the migrations."""

    SQL = "sql"
    ALEMBIC = "alembic"
    COMMAND = "command"


@dataclass(frozen=True, slots=True)
class Hook:
    """How an application's migrations are run."""

    kind: HookKind
    #: A folder of SQL files, an ``alembic.ini``, or a command line.
    what: str


@dataclass(frozen=True, slots=True)
class Run:
    """One run of migrations on one preview."""

    store: str
    dsn: str
    schema: str
    #: The schema that the application's tables are in when they are live; types and functions are found there.
    live_schema: str
    #: The base's version, and the live tables'; None where nothing says.
    before: str | None
    after: str | None

    @property
    def search_path(self) -> str:
        return ", ".join(sql.Identifier(name).as_string(None) for name in (self.schema, self.live_schema))


def read_hook(store: str, text: str | None) -> Hook | None:
    """``sql:FOLDER``, ``alembic:PATH/alembic.ini`` or ``command:LINE``; None if there is none.

    Raises:
        ConfigError: it is something else, or there is no such file.
    """
    if text is None:
        return None
    kind, _, what = text.partition(":")
    if kind not in list(HookKind) or not what.strip():
        raise ConfigError(
            f"store {store}: migrations is {text!r}",
            next_step="write sql:FOLDER, alembic:PATH/alembic.ini or command:LINE",
        )
    if kind != HookKind.COMMAND and not Path(what).exists():
        raise ConfigError(f"store {store}: migrations: there is no {what}", next_step="correct the path")
    return Hook(HookKind(kind), what)


def files_between(folder: Path, before: str | None, after: str | None) -> list[Path]:
    """The SQL files, by name, behind the one of version ``before``, up to that of ``after`` (None: the last).

    A file is of a version if its name is that, or begins with it and ``_``, ``-`` or ``.``.

    Raises:
        ConfigError: no file is of that version.
    """
    files = sorted(folder.glob("*.sql"))
    first = _place(files, folder, before) + 1
    last = len(files) if after is None else _place(files, folder, after) + 1
    return files[first:last]


def _place(files: Sequence[Path], folder: Path, version: str | None) -> int:
    for place, file in enumerate(files):
        if version is not None and (
            file.stem == version or file.name.startswith(tuple(f"{version}{c}" for c in "_-."))
        ):
            return place
    raise ConfigError(
        f"no file of {folder} is of version {version}",
        next_step="let the setting migration_version ask for the name of the last migration",
    )


def run_files(conn: Connection, run: Run, folder: Path, check: Check) -> None:
    """In the caller's transaction, which must be all there is of them.

    Raises:
        StoreRejected: a file does not work, or touches a live table; the caller's transaction is to be undone.
    """
    conn.execute("SELECT set_config('search_path', %s, true)", (run.search_path,))
    for file in files_between(folder, run.before, run.after):
        check()
        text = file.read_bytes()
        if _ENDS.search(text):
            raise StoreRejected(
                f"{run.store}: migration {file.name} begins or ends a transaction of its own",
                store=run.store,
                next_step="leave that to us, so that all migrations happen or none; or run them by command:",
            )
        try:
            conn.execute(text)
        except psycopg.Error as exc:
            raise StoreRejected(
                f"{run.store}: migration {file.name} fails on schema {run.schema} (SQLSTATE {exc.sqlstate})",
                store=run.store,
                next_step="run it by hand on that schema to see what it says; nothing of it was kept",
            ) from None
        if touched := _locked_outside(conn, run.schema):
            raise StoreRejected(
                f"{run.store}: migration {file.name} changes {', '.join(map(str, touched))}, which is live",
                store=run.store,
                next_step="name tables without their schema in migrations; those of nobody cannot be changed on a preview",
            )
    conn.execute("SELECT set_config('search_path', 'pg_catalog', true)")


def _locked_outside(conn: Connection, schema: str) -> list[TableName]:
    """Tables that this transaction wrote or altered, outside of the preview: their locks are kept until it ends."""
    rows = conn.execute(
        "SELECT DISTINCT n.nspname, c.relname FROM pg_locks l JOIN pg_class c ON c.oid = l.relation "
        "JOIN pg_namespace n ON n.oid = c.relnamespace WHERE l.pid = pg_backend_pid() AND l.locktype = 'relation' "
        "AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database()) "
        "AND l.mode NOT IN ('AccessShareLock', 'RowShareLock') AND c.relkind IN ('r', 'p') "
        "AND n.nspname NOT IN (%s, 'pg_catalog', 'pg_toast', 'tenant_lifecycle') ORDER BY 1, 2",
        (schema,),
    )
    return [TableName(str(namespace), str(name)) for namespace, name in rows]


def command_of(hook: Hook, run: Run) -> list[str]:
    """The command line of a hook that is a program."""
    if hook.kind is HookKind.COMMAND:
        return shlex.split(hook.what)
    upgrade = ["upgrade", run.after or "head"]
    return [sys.executable, "-m", "alembic", "-c", hook.what, "-x", f"schema={run.schema}", *upgrade]


def run_program(hook: Hook, run: Run, check: Check) -> None:
    """Run it with a search path of the preview first: through libpq's environment, so it needs to know nothing.

    Raises:
        StoreRejected: it failed; says how, but not what it printed, which may hold values.
    """
    command = command_of(hook, run)
    folder = Path(hook.what).resolve().parent if hook.kind is HookKind.ALEMBIC else None
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(
            command, env=_environment(run), cwd=folder, stdin=subprocess.DEVNULL, stdout=said, stderr=said
        )
        code = _wait(process, check)
        if code:
            raise StoreRejected(
                f"{run.store}: {Path(command[0]).name} ended with {code} ({_kind_of_error(said)}) on schema {run.schema}",
                store=run.store,
                next_step="run it by hand with PGOPTIONS='-c search_path=...' to see what it says",
            )


def _environment(run: Run) -> Mapping[str, str]:
    escaped = run.search_path.replace("\\", "\\\\").replace(" ", "\\ ")
    return {
        **os.environ,
        "PGOPTIONS": f"-c search_path={escaped}",
        "TENANT_LIFECYCLE_SCHEMA": run.schema,
        "TENANT_LIFECYCLE_DSN": run.dsn,
    }


def _wait(process: subprocess.Popen[bytes], check: Check) -> int:
    while True:
        try:
            return process.wait(timeout=0.5)
        except subprocess.TimeoutExpired:
            try:
                check()
            except BaseException:
                process.kill()
                process.wait()
                raise


def _kind_of_error(said: IO[bytes]) -> str:
    """The class of the last exception in what a program printed, which is all that surely holds no value."""
    said.seek(0)
    for line in reversed(said.read()[-65_536:].decode(errors="replace").splitlines()):
        name = line.partition(":")[0].strip()
        if name.replace(".", "").replace("_", "").isalnum() and name.endswith(
            ("Error", "Exception", "Violation")
        ):
            return name
    return "no exception that we know"
