"""Drawing an ownership map as a tree of text: the root, what hangs on it, and what belongs to nobody."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from tenant_lifecycle.model.names import TableName
from tenant_lifecycle.model.ownership import Direct, Global, Hop, OwnershipMap, Rule, Shared, Via

_ROOTLESS = TableName("", "")


def draw(map_: OwnershipMap, unmapped: Iterable[TableName] = ()) -> list[str]:
    """Lines of the tree: owned tables under what owns them (by their first way), then the other groups."""
    lines: list[str] = []
    if map_.schema_template is not None:
        lines.append(f"every table of schema {map_.schema_template}")
    if map_.per_database:
        lines.append("every table of the tenant's own database")
    children = _children(map_)
    if map_.root is not None:
        rule = map_.tables[map_.root]
        lines.append(f"{_short(map_.root)} (root: {getattr(rule, 'column', '')})")
        lines += _branches(map_, children, map_.root, "")
    for title, tables in (
        ("shared people", [name for name, rule in map_.tables.items() if isinstance(rule, Shared)]),
        ("global", [name for name, rule in map_.tables.items() if isinstance(rule, Global)]),
        ("NOT MAPPED (stops a migration)", list(unmapped)),
    ):
        if tables:
            lines.append(title)
            lines += [
                f"{'└── ' if last else '├── '}{_short(name)}{_note(map_.tables.get(name))}"
                for name, last in _with_last(sorted(tables))
            ]
    return lines


def _children(map_: OwnershipMap) -> Mapping[TableName, list[TableName]]:
    """Tables by the one they hang on: the parent of their first way, or the root."""
    children: dict[TableName, list[TableName]] = {}
    root = map_.root or _ROOTLESS
    for name, rule in sorted(map_.tables.items()):
        match rule:
            case Direct():
                children.setdefault(root, []).append(name)
            case Via(hops):
                children.setdefault(hops[0].parent or root, []).append(name)
    return children


def _branches(
    map_: OwnershipMap, children: Mapping[TableName, list[TableName]], parent: TableName, indent: str
) -> Iterator[str]:
    for name, last in _with_last(children.get(parent, [])):
        yield f"{indent}{'└── ' if last else '├── '}{_short(name)}{_note(map_.tables[name])}"
        yield from _branches(map_, children, name, indent + ("    " if last else "│   "))


def _note(rule: Rule | None) -> str:
    match rule:
        case Direct(column):
            return f"  by {column}"
        case Via(hops):
            return f"  by {_way(hops[0])}" + "".join(f", else {_else(hop)}" for hop in hops[1:])
        case Shared(through, column, key):
            return f"  {key} in {_short(through)}.{column}"
    return ""


def _way(hop: Hop) -> str:
    return ", ".join(hop.columns)


def _else(hop: Hop) -> str:
    return f"{_way(hop)} -> {_short(hop.parent)}" if hop.parent is not None else _way(hop)


def _short(name: TableName) -> str:
    return name.name if name.schema == "public" else str(name)


def _with_last(names: list[TableName]) -> Iterator[tuple[TableName, bool]]:
    for position, name in enumerate(names, 1):
        yield name, position == len(names)
