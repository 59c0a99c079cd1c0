"""Proposing an ownership map from a live database.

Names and declared keys say what to try; samples of rows decide, above all whether the tenant that a way
leads to agrees with the tenant known otherwise. Every rule carries its evidence; what the data does not
bear out becomes an alternative or stays undecided, and is never guessed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import product

from psycopg import sql

from tenant_lifecycle.model.names import TableName
from tenant_lifecycle.model.naming import (
    is_bookkeeping,
    names_people,
    referred,
    snake,
    tables_for,
    tenant_word,
)
from tenant_lifecycle.model.ownership import Direct, Global, Hop, Root, Rule, Shared, Via
from tenant_lifecycle.model.proposal import ENOUGH, TELLING, Edge, Origin, Proposal, Proposed
from tenant_lifecycle.stores.postgres.connection import Connection
from tenant_lifecycle.stores.postgres.database import Database
from tenant_lifecycle.stores.postgres.owned import table_sql
from tenant_lifecycle.stores.postgres.references import Reference, read_references, read_unique_columns
from tenant_lifecycle.stores.postgres.roots import find_root
from tenant_lifecycle.stores.postgres.sampling import ask, measure, sample
from tenant_lifecycle.stores.postgres.schemas import find_template
from tenant_lifecycle.stores.postgres.tables import Column, Table, read_tables

#: A table without any way to a tenant is taken for global only up to this many rows.
_SMALL = 100_000
#: Column pairs that are tried by their values alone, at most.
_TRIES = 400
_NUMBERS = ("smallint", "integer", "bigint")


@dataclass
class _Search:
    """What is known so far; tables get their rules one after the other."""

    conn: Connection
    tables: Mapping[TableName, Table]
    references: Mapping[TableName, list[Reference]]
    unique: Mapping[TableName, frozenset[str]]
    found: dict[TableName, Proposed] = field(default_factory=dict)
    tries: int = _TRIES
    #: Declared and named ways, by table.
    ways: dict[TableName, list[Edge]] = field(default_factory=dict)
    #: What was measured. A way to a table that has its owner by now does not change any more.
    _seen: dict[tuple[Edge, Hop | None], Edge] = field(default_factory=dict)

    @property
    def rules(self) -> dict[TableName, Rule]:
        """Rules of tables whose rows tenants own."""
        return {
            name: item.rule for name, item in self.found.items() if isinstance(item.rule, (Root, Direct, Via))
        }

    def measure(self, table: Table, edge: Edge, witness: Hop | None = None) -> Edge:
        """The edge with what a sample says about it."""
        if (edge, witness) not in self._seen:
            self._seen[edge, witness] = measure(self.conn, table, edge, self.rules, witness)
        return self._seen[edge, witness]

    def open(self) -> list[Table]:
        """Tables without a proposal."""
        return [table for name, table in sorted(self.tables.items()) if name not in self.found]

    def propose(
        self, table: Table, rule: Rule | None, confidence: float, evidence: Iterable[str],
        alternatives: Iterable[Edge] = (),
    ) -> None:  # fmt: skip
        """Settle one table."""
        others = tuple((Via((edge.hop,)), edge.confidence, edge.evidence()) for edge in alternatives)
        self.found[table.name] = Proposed(table.name, rule, confidence, tuple(evidence), others)


def propose(database: Database) -> Proposal:
    """What the ownership map of this database may be; reads samples, changes nothing."""
    with database.session() as conn:
        tables = dict(read_tables(conn))
        template = find_template(tables)
        for name in list(tables):
            if template is not None and name.schema in template.schemas:
                del tables[name]
        search = _Search(conn, tables, read_references(conn, tables), read_unique_columns(conn, tables))
        remarks = [template.evidence] if template is not None else []
        root = find_root(conn, tables, search.references, search.unique)
        if root is None:
            remarks.append("no table of tenants was found: no column whose name or values point at one")
        else:
            search.propose(tables[root.table], Root(root.column), root.confidence, root.evidence)
            remarks += root.remarks
            _direct(search)
            _shared(search)
            _via(search)
        _rest(search, has_root=root is not None or template is not None)
        return Proposal(
            tuple(search.found[name] for name in _readable_order(search.found)),
            template.template if template is not None else None,
            tuple(remarks),
        )


def _readable_order(found: Mapping[TableName, Proposed]) -> list[TableName]:
    """Root first, then tables in the order they were settled, which puts parents before children."""
    kinds = (Root, Shared, Direct, Via, Global)
    rank = {name: next((i for i, kind in enumerate(kinds) if isinstance(item.rule, kind)), len(kinds))
            for name, item in found.items()}  # fmt: skip
    return sorted(found, key=lambda name: rank[name])


def _direct(search: _Search) -> None:
    """Tables that name the tenant themselves, in a column that is never NULL."""
    for table in search.open():
        edges = [search.measure(table, edge) for edge in _tenant_edges(search, table)]
        edges.sort(key=lambda edge: (-edge.confidence, edge.origin is not Origin.DECLARED))
        if edges and edges[0].confidence >= ENOUGH and edges[0].complete:
            best, others = edges[0], edges[1:]
            search.propose(
                table, Direct(best.hop.columns[0]), best.confidence,
                [best.evidence(), *(f"also: {edge.evidence()}" for edge in others)],
            )  # fmt: skip


def _tenant_edges(search: _Search, table: Table) -> Iterator[Edge]:
    """Columns that may hold the tenant's id: declared to refer to the root, or named so."""
    root, column = next((name, rule.column) for name, rule in search.rules.items() if isinstance(rule, Root))
    declared = set()
    for reference in search.references.get(table.name, ()):
        if reference.parent == root and reference.parent_columns == (column,):
            declared.add(reference.columns[0])
            yield Edge(table.name, Hop(reference.columns), Origin.DECLARED)
    for candidate in table.columns:
        word = tenant_word(candidate.name)
        if word is None or candidate.name in declared:
            continue
        if _family(candidate) == _family(search.tables[root].column(column)):
            named = [name for name, _ in tables_for(word, table.name.name, [root.name])]
            yield Edge(table.name, Hop((candidate.name,)), Origin.NAME, telling=1.0 if named else 0.4)


def _shared(search: _Search) -> None:
    """People who belong to tenants through a table of memberships, whose key is the tenant and the person."""
    memberships = [
        (table, item.rule.column)
        for name, item in search.found.items()
        if isinstance(item.rule, Direct) and (table := search.tables[name])
    ]
    for people in search.open():
        keys = search.unique.get(people.name, frozenset())
        if any(edge.complete and edge.present for edge in _owner_edges(search, people)):
            continue
        best: Proposed | None = None
        for table, tenant in memberships:
            for column, key in _refers(search, table, people, keys):
                if set(table.primary_key) == {tenant, column} or _pair_is_unique(
                    search, table, tenant, column
                ):
                    proposed = _people(search, people, key, table, column, tenant)
                    if best is None or proposed.confidence > best.confidence:
                        best = proposed
        if best is not None and best.rule is not None:
            if best.confidence < ENOUGH:
                said = "shared by tenants; people, or the same for all (global)?"
                others = ((best.rule, best.confidence, best.evidence[0]),)
                best = Proposed(people.name, None, best.confidence, (said,), others)
            search.found[people.name] = best


def _owner_edges(search: _Search, table: Table) -> list[Edge]:
    return [search.measure(table, edge) for edge in _edges(search, table) if edge.hop.parent in search.rules]


def _refers(search: _Search, table: Table, people: Table, keys: frozenset[str]) -> Iterator[tuple[str, str]]:
    """Columns of ``table`` that refer to ``people``, with the key they refer to."""
    for edge in _edges(search, table):
        if (
            edge.hop.parent == people.name
            and len(edge.hop.columns) == 1
            and edge.hop.parent_columns[0] in keys
        ):
            yield edge.hop.columns[0], edge.hop.parent_columns[0]


def _pair_is_unique(search: _Search, table: Table, tenant: str, column: str) -> bool:
    """Whether a unique index says that a person is a member of a tenant once."""
    rows = search.conn.execute(
        "SELECT EXISTS (SELECT FROM pg_index i WHERE i.indrelid = %s AND i.indisunique AND i.indpred IS NULL"
        " AND i.indexprs IS NULL AND i.indnkeyatts = 2 AND (SELECT array_agg(a.attname::text ORDER BY 1)"
        " FROM pg_attribute a WHERE a.attrelid = i.indrelid AND a.attnum IN (i.indkey[0], i.indkey[1])) = %s)",
        (table.oid, sorted((tenant, column))),
    ).fetchone()
    return rows is not None and bool(rows[0])


def _people(
    search: _Search, people: Table, key: str, table: Table, column: str, tenant: str
) -> Proposed:  # fmt: skip
    query = sql.SQL(
        "SELECT count(*), count(*) FILTER (WHERE n > 0), count(*) FILTER (WHERE n > 1) FROM"
        " (SELECT p.{key}, count(DISTINCT m.{tenant}) AS n FROM {people} p LEFT JOIN {through} m"
        "   ON m.{column} = p.{key} GROUP BY p.{key}) s"
    ).format(
        key=sql.Identifier(key), tenant=sql.Identifier(tenant), column=sql.Identifier(column),
        people=sample(people), through=table_sql(table.name),
    )  # fmt: skip
    rows = ask(search.conn, query)
    sampled, members, several = (int(str(value)) for value in rows[0]) if rows else (0, 0, 0)
    confidence = 0.7 if not sampled else (0.95 if several else 0.8) * members / sampled
    if not names_people(people.name.name, [column.name for column in people.columns]):
        confidence /= 2
    said = f"{table.name} says who belongs to which tenant ({tenant}, {column}), once each"
    if sampled:
        said += f"; {members} of {sampled} sampled rows have a tenant, {several} have more than one"
    return Proposed(people.name, Shared(table.name, column, key), round(confidence, 2), (said,))


def _via(search: _Search) -> None:
    """Tables that reach an owner over others, in rounds.

    A table waits while one of its ways leads to a table that may get an owner yet, because two ways confirm
    or refute each other. When all wait for each other, the surest goes first; partial ways come last.
    """
    while True:
        waiting: list[tuple[bool, float, Table, list[Edge], list[Edge]]] = []
        settled = False
        still_open = {table.name for table in search.open()}
        for table in search.open():
            good, doubtful = _weigh(search, table)
            if not good:
                continue
            complete = _covered(search, table, good) >= 1.0
            waits = any(edge.hop.parent in still_open for edge in _edges(search, table))
            if complete and (not waits or good[0].agreeing >= TELLING):
                _settle(search, table, good, doubtful)
                settled = True
            else:
                waiting.append((complete, good[0].confidence, table, good, doubtful))
        if settled:
            continue
        if not waiting:
            return
        _, _, table, good, doubtful = max(waiting, key=lambda item: (item[0], item[1], item[2].name))
        _settle(search, table, good, doubtful)


def _weigh(search: _Search, table: Table) -> tuple[list[Edge], list[Edge]]:
    """Ways of the table to tables that are owned by now: those that may be trusted, best first, and others."""
    if not search.rules:
        return [], []
    parents = {name for name, rule in search.rules.items() if not isinstance(rule, Root)}
    edges = [*_tenant_edges(search, table), *(e for e in _edges(search, table) if e.hop.parent in parents)]
    good, doubtful = _sorted_out(search, table, edges)
    if not good:
        more = [edge for edge in _by_values(search, table) if edge.hop.parent in parents]
        good, doubtful = _sorted_out(search, table, [*edges, *more]) if more else (good, doubtful)
    return good, doubtful


def _sorted_out(search: _Search, table: Table, edges: list[Edge]) -> tuple[list[Edge], list[Edge]]:
    measured = [_confirmed(search, table, edge, edges) for edge in edges]
    measured.sort(key=lambda edge: (-edge.confidence, -edge.covers, edge.hop.columns))
    good = [edge for edge in measured if edge.confidence >= ENOUGH and (edge.found or not edge.sampled)]
    return good, [edge for edge in measured if edge not in good]


def _confirmed(search: _Search, table: Table, edge: Edge, others: list[Edge]) -> Edge:
    """The edge, measured against the other way that agrees with it best; a tenant's own column is the judge."""
    best = search.measure(table, edge)
    for other in others:
        if other is edge:
            continue
        seen = search.measure(table, edge, other.hop)
        if other.hop.parent is None and seen.compared >= TELLING:
            return seen
        if seen.compared and (
            not best.compared or seen.agreeing * best.compared > best.agreeing * seen.compared
        ):
            best = seen
    return best


def _covered(search: _Search, table: Table, edges: list[Edge]) -> float:
    """Share of sampled rows that have a value in one of the ways."""
    some = sql.SQL(" OR ").join(
        sql.SQL("num_nulls({}) = 0").format(sql.SQL(", ").join(sql.Identifier(c) for c in edge.hop.columns))
        for edge in edges
    )
    rows = ask(
        search.conn,
        sql.SQL("SELECT count(*), count(*) FILTER (WHERE {}) FROM {} t").format(some, sample(table)),
    )
    total, covered = (int(str(value)) for value in rows[0]) if rows else (0, 0)
    return covered / total if total else 1.0


def _settle(search: _Search, table: Table, good: list[Edge], doubtful: list[Edge]) -> None:
    """A rule of as few ways as cover what all of them cover."""
    chosen: list[Edge] = []
    covered = 0.0
    for edge in sorted(good, key=lambda e: (not _never_null(table, e), -e.covers, -e.confidence)):
        more = _covered(search, table, [*chosen, edge])
        if more > covered or not chosen:
            chosen, covered = [*chosen, edge], more
        if covered >= 1.0 and (edge.sampled or _never_null(table, edge)):
            break
    evidence = [edge.evidence() for edge in chosen]
    if covered < 1.0:
        evidence.append(f"{1 - covered:.0%} of sampled rows have no owner this way")
    confidence = min(edge.confidence for edge in chosen) * (1.0 if covered >= 1.0 else covered)
    rule: Rule = Via(tuple(edge.hop for edge in chosen))
    if len(chosen) == 1 and chosen[0].hop.parent is None:
        rule = Direct(chosen[0].hop.columns[0])
    others = [edge for edge in [*good, *doubtful] if edge not in chosen]
    if confidence >= ENOUGH:
        search.propose(table, rule, round(confidence, 2), evidence, others)
    else:
        search.propose(
            table, None, round(confidence, 2), ["no way to an owner can be trusted"], [*chosen, *others]
        )


def _never_null(table: Table, edge: Edge) -> bool:
    return all(table.column(column).not_null for column in edge.hop.columns)


def _edges(search: _Search, table: Table) -> list[Edge]:
    """Ways from the table to other tables, declared or by name."""
    if table.name not in search.ways:
        declared = [
            Edge(table.name, Hop(reference.columns, reference.parent, reference.parent_columns),
                 Origin.DECLARED, numbers=_is_number(table, reference.columns))
            for reference in search.references.get(table.name, ())
            if reference.parent != table.name and reference.parent in search.tables
        ]  # fmt: skip
        taken = {column for edge in declared for column in edge.hop.columns}
        named = [
            e for column in table.columns if column.name not in taken for e in _named(search, table, column)
        ]
        search.ways[table.name] = [*declared, *named]
    return search.ways[table.name]


def _named(search: _Search, table: Table, column: Column) -> Iterator[Edge]:
    word = referred(column.name)
    if word is None:
        return
    by_name: dict[str, list[TableName]] = {}
    for name in search.tables:
        by_name.setdefault(name.name, []).append(name)
    for text, telling in tables_for(word, table.name.name, by_name):
        for parent in by_name[text]:
            near = telling if parent.schema == table.name.schema else telling * 0.7
            key = _key(search, parent, column)
            if parent != table.name and key is not None:
                yield Edge(table.name, Hop((column.name,), parent, (key,)), Origin.NAME, telling=near,
                           numbers=column.type in _NUMBERS)  # fmt: skip


def _by_values(search: _Search, table: Table) -> Iterator[Edge]:
    """Owned tables whose key holds the values of a column that no name explains; random ids only, and a
    bounded number of tries."""
    explained = {column for edge in _edges(search, table) for column in edge.hop.columns}
    columns = [column for column in table.columns
               if column.type == "uuid" and column.name not in explained | set(table.primary_key)]  # fmt: skip
    for column, parent in product(columns, sorted(search.rules)):
        key = _key(search, parent, column)
        if key is None or parent == table.name or search.tries <= 0:
            continue
        edge = Edge(table.name, Hop((column.name,), parent, (key,)), Origin.VALUES)
        search.tries -= (edge, None) not in search._seen
        seen = search.measure(table, edge)
        if seen.present >= TELLING and seen.found >= 0.98 * seen.present:
            yield edge


def _key(search: _Search, parent: TableName, column: Column) -> str | None:
    """The parent's one-column key that values of the column's type may name."""
    table = search.tables[parent]
    keys = search.unique.get(parent, frozenset())
    ordered = [*(c for c in table.primary_key if c in keys), *sorted(keys - set(table.primary_key))]
    return next((key for key in ordered if _family(table.column(key)) == _family(column)
                 and (key in table.primary_key or snake(key) in ("id", "uuid", "key"))), None)  # fmt: skip


def _family(column: Column) -> str:
    if column.type in _NUMBERS:
        return "number"
    return "text" if column.type.startswith(("text", "character", "citext")) else column.type


def _is_number(table: Table, columns: tuple[str, ...]) -> bool:
    return all(table.column(column).type in _NUMBERS for column in columns)


def _rest(search: _Search, *, has_root: bool) -> None:
    """Tables that reach no owner: bookkeeping and small reference tables are global, others undecided."""
    people = {name for name, item in search.found.items() if isinstance(item.rule, Shared)}
    for table in search.open():
        notes = list(_notes(search, table, people))
        good, doubtful = _weigh(search, table)
        measured = [*good, *doubtful]
        rows = ask(search.conn, sql.SQL("SELECT count(*) FROM (SELECT FROM {} LIMIT {}) q").format(
            table_sql(table.name), sql.Literal(_SMALL + 1)))  # fmt: skip
        count = int(str(rows[0][0])) if rows else _SMALL + 1
        if is_bookkeeping(table.name.name):
            search.propose(table, Global(), 0.95, ["kept by a migration tool for itself"])
        elif not has_root or notes or measured or count > _SMALL:
            nothing = "nothing in it leads to a tenant" + (", and it is big" if count > _SMALL else "")
            torn = "its ways to a tenant disagree, or are not borne out by its rows"
            said = notes or [torn if measured else nothing]
            search.propose(table, None, 0.0, said, measured)
        else:
            used = sorted({str(name) for name, refs in search.references.items()
                           for ref in refs if ref.parent == table.name and name in search.rules})  # fmt: skip
            said = [f"no way to a tenant, {count} rows"]
            if used:
                said.append(f"tenants' tables refer to it: {', '.join(used[:3])}")
            search.propose(table, Global(), 0.85 if used else 0.65, said)


def _notes(search: _Search, table: Table, people: set[TableName]) -> Iterator[str]:
    """Reasons not to take a table for global."""
    names = {snake(column.name): column.name for column in table.columns}
    for name in names:
        if name.endswith("_type") and f"{name.removesuffix('_type')}_id" in names:
            yield f"{names[name]} and {names[name.removesuffix('_type') + '_id']} look polymorphic: no rule for that yet"
        if tenant_word(name) is not None and referred(name) is not None:
            yield f"column {names[name]} looks like a tenant, but its values are not ids of the root"
        if "email" in name or name in ("ip", "ip_address", "phone"):
            yield f"column {names[name]} is personal: rows of people are hardly global"
    for edge in _edges(search, table):
        if edge.hop.parent in people:
            yield f"{', '.join(edge.hop.columns)} leads to {edge.hop.parent}, people who may have several tenants"
