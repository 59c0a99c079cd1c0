"""The section ``health`` of ``lifecycle.yaml``: where the gates get their numbers from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tenant_lifecycle.yaml_file import Node

_KINDS: Mapping[str, tuple[frozenset[str], tuple[str, ...]]] = {
    "prometheus": (frozenset({"url", "token", "queries", "timeout"}), ("url", "queries")),
    "probe": (frozenset({"urls", "requests", "timeout"}), ("urls",)),
    "query": (frozenset({"store", "sql", "timeout"}), ("sql",)),
    "router": (frozenset({"router"}), ("router",)),
}
#: What a source can be asked for by ``queries``.
_NUMBERS = frozenset({"requests", "errors", "p99_seconds", "business"})
#: Probes of one look.
_MOST_REQUESTS = 1000


@dataclass(frozen=True, slots=True)
class HealthConfig:
    """One source. What its kind does not know stays empty."""

    name: str
    #: ``prometheus``, ``probe``, ``query`` or ``router``.
    kind: str
    #: Where it stands in the file, for errors about what is found out later.
    place: str
    url: str = field(default="", repr=False)
    token: str = field(default="", repr=False)
    #: By number (``prometheus``).
    queries: Mapping[str, str] = field(default_factory=dict)
    #: By environment (``probe``).
    urls: Mapping[str, str] = field(default_factory=dict, repr=False)
    requests: int = 5
    #: Name of the PostgreSQL store inside each environment (``query``).
    store: str = "postgres"
    sql: str = ""
    #: Name of the router whose own counters it is (``router``).
    router: str = ""
    timeout_s: float = 2.0


def read_health(node: Node) -> dict[str, HealthConfig]:
    """Every source by name, in the file's order.

    Raises:
        ConfigError: with file and line.
    """
    return {name: _source(name, place) for name, place in node.mapping().items()}


def _source(name: str, node: Node) -> HealthConfig:
    kind = node.mapping(required=("kind",))["kind"].choice(list(_KINDS))
    allowed, required = _KINDS[kind]
    fields = node.mapping(allowed | {"kind"}, required=required)

    def text(key: str, default: str = "") -> str:
        return fields[key].text() if key in fields else default

    def texts(key: str, names: frozenset[str] | None = None) -> dict[str, str]:
        return {k: v.text() for k, v in fields[key].mapping(names).items()} if key in fields else {}

    for key, names in (("queries", _NUMBERS), ("urls", None)):
        if key in fields and not fields[key].mapping(names):
            raise fields[key].error("at least one is needed")
    return HealthConfig(
        name=name,
        kind=kind,
        place=f"{node.file}:{node.line}",
        url=text("url"),
        token=text("token"),
        queries=texts("queries", _NUMBERS),
        urls=texts("urls"),
        requests=fields["requests"].integer(minimum=1, maximum=_MOST_REQUESTS) if "requests" in fields else 5,
        store=text("store", "postgres"),
        sql=text("sql"),
        router=text("router"),
        timeout_s=fields["timeout"].seconds(positive=True) if "timeout" in fields else 2.0,
    )
