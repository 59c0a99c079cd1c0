"""Pre-flight: the two servers, each by itself and as a pair."""

from __future__ import annotations

from collections.abc import Iterator

from psycopg.rows import dict_row

from tenant_lifecycle.model.findings import Finding
from tenant_lifecycle.stores.postgres.preflight.pair import PIECES, Pair, Side, listed
from tenant_lifecycle.stores.postgres.probe import may_switch_triggers_off
from tenant_lifecycle.stores.postgres.servercheck import check_server, quoted
from tenant_lifecycle.stores.postgres.verdicts import fine, refuse, warn

_SAME = "SELECT (SELECT system_identifier FROM pg_control_system()), oid FROM pg_database WHERE datname = current_database()"

_PRIVILEGES = f"""
WITH {PIECES}
SELECT n.nspname::text AS schema, c.relname::text AS name, o.rolname::text AS owner,
       pg_has_role(c.relowner, 'USAGE') AS owned, row_security_active(c.oid) AS hidden,
       array_remove(ARRAY[
           CASE WHEN NOT has_schema_privilege(n.oid, 'USAGE') THEN 'USAGE ON SCHEMA' END,
           CASE WHEN NOT has_table_privilege(c.oid, 'SELECT') THEN 'SELECT' END,
           CASE WHEN NOT has_table_privilege(c.oid, 'INSERT') THEN 'INSERT' END,
           CASE WHEN NOT has_table_privilege(c.oid, 'UPDATE') THEN 'UPDATE' END,
           CASE WHEN NOT has_table_privilege(c.oid, 'DELETE') THEN 'DELETE' END], NULL) AS missing
  FROM pieces p JOIN pg_class c ON c.oid = p.rel JOIN pg_namespace n ON n.oid = c.relnamespace
  JOIN pg_roles o ON o.oid = c.relowner
 WHERE p.rel = p.root ORDER BY 1, 2
"""  # noqa: S608 - composed of constants


def check_servers(pair: Pair) -> Iterator[Finding]:
    """Each server by itself: it must be able to send a feed, and to receive one."""
    keyless = any(not table.key for side in pair.sides for table in side.moved)
    for side in pair.sides:
        yield from check_server(side.facts, side.name, slots_needed=2 if keyless else 1)
        yield from may_switch_triggers_off(side.conn, side.facts, side.name)


def check_same_database(pair: Pair) -> Iterator[Finding]:
    """A database cannot be moved onto itself."""
    source, target = (side.conn.execute(_SAME.encode()).fetchone() for side in pair.sides)
    if source == target:
        yield refuse(
            pair.target.name, "pg.same-database", f"it is the same database as {pair.source.name}",
            "check the DSN of both environments in lifecycle.yaml",
        )  # fmt: skip


def check_privileges(pair: Pair) -> Iterator[Finding]:
    """Our role must own the tables (to publish them), write them, and see every row of them."""
    for side in pair.sides:
        with side.conn.cursor(row_factory=dict_row) as cursor:
            rows = cursor.execute(_PRIVILEGES, {"oids": [table.oid for table in side.moved]}).fetchall()
        names = {(row["schema"], row["name"]): f"{row['schema']}.{row['name']}" for row in rows}
        role = quoted(side.facts.role)
        foreign = [row for row in rows if not row["owned"]]
        lacking = [row for row in rows if row["missing"]]
        hidden = [names[row["schema"], row["name"]] for row in rows if row["hidden"]]
        if foreign:
            tables = listed(names[row["schema"], row["name"]] for row in foreign)
            owners = ", ".join(sorted({quoted(row["owner"]) for row in foreign}))
            yield refuse(
                side.name, "pg.table-owner",
                f"role {side.facts.role} is no member of the owner of {tables}; only owners publish a table",
                f"GRANT {owners} TO {role};",
            )  # fmt: skip
        if lacking:
            what = ", ".join(sorted({privilege for row in lacking for privilege in row["missing"]}))
            tables = listed(names[row["schema"], row["name"]] for row in lacking)
            yield refuse(
                side.name, "pg.table-privilege", f"role {side.facts.role} lacks {what} on {tables}",
                f"GRANT SELECT, INSERT, UPDATE, DELETE ON {tables} TO {role};"
                f" GRANT USAGE ON SCHEMA {listed(sorted({quoted(row['schema']) for row in lacking}))} TO {role};",
            )  # fmt: skip
        if hidden:
            yield refuse(
                side.name, "pg.row-security",
                f"row-level security hides rows of {listed(hidden)} from role {side.facts.role}",
                f"ALTER ROLE {role} BYPASSRLS;",
            )  # fmt: skip
        if not (foreign or lacking or hidden):
            yield fine(side.name, "pg.table-privilege", f"role {side.facts.role} may do all it must")


def check_versions(pair: Pair) -> Iterator[Finding]:
    """Versions of the two servers; an older target is allowed, `types` looks at what it lacks."""
    source, target = pair.source.facts, pair.target.facts
    way = f"from PostgreSQL {source.version_text} to {target.version_text}"
    if target.major < source.major:
        yield warn(
            pair.target.name, "pg.version-older", f"the move goes {way}, an older version",
            "look for features that the application uses only since the newer version",
        )  # fmt: skip
    else:
        yield fine(pair.target.name, "pg.version-pair", f"the move goes {way}")


def check_text(pair: Pair) -> Iterator[Finding]:
    """Encodings must be the same; collations may differ, as ours is always COLLATE "C"."""
    source, target = pair.source.facts, pair.target.facts
    if source.encoding != target.encoding:
        yield refuse(
            pair.target.name, "pg.encoding",
            f"its encoding is {target.encoding}, that of {pair.source.name} is {source.encoding}",
            f"create the target database with ENCODING '{source.encoding}'",
        )  # fmt: skip
    for side in pair.sides:
        recorded, actual = side.facts.collation_version, side.facts.actual_collation_version
        if recorded is not None and actual is not None and recorded != actual:
            yield warn(
                side.name, "pg.collation-version",
                f"indexes were built with collation version {recorded}, the library is now {actual}",
                f"REINDEX DATABASE {quoted(side.facts.database)}; "
                f"ALTER DATABASE {quoted(side.facts.database)} REFRESH COLLATION VERSION;",
            )  # fmt: skip
    if (source.locale_provider, source.collate, source.ctype, source.actual_collation_version) != (
        target.locale_provider, target.collate, target.ctype, target.actual_collation_version
    ) and (names := [t.name for t in pair.source.moved if _text_key(pair.source, t.name)]):  # fmt: skip
        yield warn(
            pair.target.name, "pg.collation",
            f"text sorts differently ({target.collate}, {pair.source.name} has {source.collate}, or another"
            f" version of it); the keys of {listed(names)} are text",
            "expect another order in lists sorted by text",
        )  # fmt: skip


def _text_key(side: Side, name: object) -> bool:
    return any(
        table.column(column).collatable
        for table in side.moved if table.name == name for column in table.key
    )  # fmt: skip
