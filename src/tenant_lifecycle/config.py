"""The file ``lifecycle.yaml``: environments and their stores, tiers, policies, and where our own state lives.

Every mistake is a `ConfigError` that names file, line and the nearest valid key. Paths in the file are
relative to the file. Secrets come in as ``${VARIABLE}`` and never show in a ``repr``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from tenant_lifecycle.backups_file import BackupsConfig, read_backups
from tenant_lifecycle.erasure_file import read_erasure
from tenant_lifecycle.errors import ConfigError
from tenant_lifecycle.evidence_file import EvidenceConfig, read_evidence
from tenant_lifecycle.gates_file import read_gates, read_steps
from tenant_lifecycle.health_file import HealthConfig, read_health
from tenant_lifecycle.model.changes import Changes
from tenant_lifecycle.model.erasure.policy import ErasurePolicy
from tenant_lifecycle.model.flip import FlipBudget
from tenant_lifecycle.model.plan import Cutover
from tenant_lifecycle.model.policy import MigrationPolicy, ProvisionHook
from tenant_lifecycle.model.strategy import Strategy
from tenant_lifecycle.model.window import WindowPolicy, is_time_of_day
from tenant_lifecycle.traffic_config import TrafficConfig, read_traffic
from tenant_lifecycle.yaml_file import Node
from tenant_lifecycle.yaml_file import load as load_yaml
from tenant_lifecycle.yaml_file import parse as parse_yaml

#: The file's name where none is given, and the variable that gives another.
DEFAULT_NAME, VARIABLE = "lifecycle.yaml", "TENANT_LIFECYCLE_CONFIG"

#: Settings of the kinds of stores this distribution brings: which may stand there, and which must. Kinds of
#: other packages take any setting here and check it themselves.
_SETTINGS: Mapping[str, tuple[frozenset[str], tuple[str, ...]]] = {
    "postgres": (
        frozenset({"dsn", "migration_version", "migrations", "physical", "wal_archive_days"}),
        ("dsn",),
    ),
    "redis": (frozenset({"url"}), ("url",)),
    "pinecone": (frozenset({"api_key", "create_index", "host", "index"}), ("api_key", "index")),
    "qdrant": (frozenset({"api_key", "collection", "path", "tenant_field", "url"}), ()),
    "s3": (
        frozenset(
            {
                "bucket",
                "endpoint",
                "region",
                "access_key",
                "secret_key",
                "profile",
                "replicas",
                "bypass_governance",
            }
        ),
        ("bucket",),
    ),
    "duckdb": (frozenset({"moves", "path"}), ("path",)),
    "folder": (frozenset({"path", "quiet"}), ("path",)),
    "cloudwatch": (
        frozenset(
            {
                "endpoint",
                "region",
                "access_key",
                "secret_key",
                "profile",
                "quiet",
                "old_lines",
                "moves",
            }
        ),
        (),
    ),
    "clickhouse": (frozenset({"database", "moves", "password", "url", "user"}), ("url",)),
}
#: Kinds of ours that can tell which keys are touched.
_HINTING = frozenset({"redis"})
_MOST_WORKERS = 16

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class StoreConfig:
    """One store of one environment."""

    #: The name both environments use for it: ``postgres``.
    name: str
    kind: str
    settings: Mapping[str, str] = field(repr=False)
    #: How its changes are learned during a move.
    changes: Changes = Changes.CLIENT
    #: What the verifier's settings change: its own credentials. None: it has none of its own.
    verify: Mapping[str, str] | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class TierConfig:
    """A service tier: how its tenants are moved."""

    name: str
    strategy: Strategy
    #: The policies with what the tier changes.
    policy: MigrationPolicy


@dataclass(frozen=True, slots=True)
class Config:
    """Everything ``lifecycle.yaml`` says."""

    #: The file itself.
    file: Path
    #: The control database: the path of an SQLite file, or an address as text.
    control_database: Path | str = field(repr=False)
    #: Folder for spools and logs of this host.
    state_folder: Path
    ownership_file: Path
    #: What every place of a tenant's data is, for clones; it need not be there.
    masking_file: Path
    #: By environment, then by the store's name.
    environments: Mapping[str, Mapping[str, StoreConfig]]
    tiers: Mapping[str, TierConfig]
    policy: MigrationPolicy
    traffic: TrafficConfig = field(default_factory=TrafficConfig)
    #: Where the gates get their numbers from, by name.
    health: Mapping[str, HealthConfig] = field(default_factory=dict)
    erasure: ErasurePolicy = field(default_factory=ErasurePolicy)
    #: The audit log and who signs.
    evidence: EvidenceConfig = field(default_factory=EvidenceConfig)
    #: The repository and the policies of backups.
    backups: BackupsConfig = field(default_factory=BackupsConfig)

    @property
    def changes(self) -> Mapping[str, Changes]:
        """How the changes of each store are learned, by its name."""
        return {
            name: store.changes for stores in self.environments.values() for name, store in stores.items()
        }

    def policy_for(self, tier: str) -> MigrationPolicy:
        """The policy of a tier; of an unknown tier or none, the general one."""
        return self.tiers[tier].policy if tier in self.tiers else self.policy


def load(path: Path, *, environ: Mapping[str, str] | None = None) -> Config:
    """Read the file; variables come from ``environ``, by default the process's.

    Raises:
        ConfigError: with file and line.
    """
    return _read(load_yaml(path, environ=environ), path)


def loads(text: str, path: Path, *, environ: Mapping[str, str] | None = None) -> Config:
    """Like `load`, from text; ``path`` is where it would stand."""
    return _read(parse_yaml(text, str(path), environ=environ), path)


def find(given: Path | None, environ: Mapping[str, str]) -> Path:
    """The file to use: the one given, else the variable's, else ``lifecycle.yaml`` in this folder.

    Raises:
        ConfigError: it is not there.
    """
    path = given or Path(environ.get(VARIABLE) or DEFAULT_NAME)
    if not path.is_file():
        raise ConfigError(
            f"{path}: there is no such file",
            next_step=f"tenantctl init writes one; or name yours with --config or {VARIABLE}",
        )
    return path


def _read(top: Node, path: Path) -> Config:
    sections = top.mapping(
        {
            "version",
            "control",
            "state_folder",
            "ownership",
            "masking",
            "environments",
            "tiers",
            "policies",
            "traffic",
            "health",
            "erasure",
            "evidence",
            "backups",
        },
        required=("version", "environments"),
    )
    if sections["version"].integer() != 1:
        raise sections["version"].error("this version of the format is not known; known is 1")
    folder = path.absolute().parent
    own = folder / ".tenant-lifecycle"
    tiers = sections.get("tiers")
    policy = _policy(sections.get("policies"), MigrationPolicy(), folder)
    policy, hybrid = _strategy(sections.get("policies"), policy, tiers)
    environments = _environments(sections["environments"])
    _agreed(environments, sections["environments"])
    return Config(
        file=path,
        control_database=_control(sections.get("control"), own / "control.db", folder),
        state_folder=_path(sections.get("state_folder"), own / "state", folder),
        ownership_file=_path(sections.get("ownership"), folder / "ownership.yaml", folder),
        masking_file=_path(sections.get("masking"), folder / "masking.yaml", folder),
        environments=environments,
        tiers=_tiers(tiers, policy, hybrid, folder),
        policy=policy,
        traffic=read_traffic(sections.get("traffic"), environments, folder),
        health=read_health(sections["health"]) if "health" in sections else {},
        erasure=read_erasure(sections["erasure"]) if "erasure" in sections else ErasurePolicy(),
        evidence=read_evidence(sections.get("evidence"), folder),
        backups=read_backups(sections.get("backups"), folder),
    )


def _path(node: Node | None, default: Path, folder: Path) -> Path:
    return default if node is None else folder / node.text()


def _control(node: Node | None, default: Path, folder: Path) -> Path | str:
    if node is None:
        return default
    database = node.mapping({"database"}).get("database")
    if database is None:
        return default
    text = database.text()
    is_address = "://" in text or ("=" in text and "/" not in text.partition("=")[0])
    return text if is_address else folder / text


def _environments(node: Node) -> dict[str, dict[str, StoreConfig]]:
    environments: dict[str, dict[str, StoreConfig]] = {}
    for name, place in node.mapping().items():
        stores = place.mapping({"stores"}, required=("stores",))["stores"]
        environments[name] = {key: _store(key, value) for key, value in stores.mapping().items()}
        if not environments[name]:
            raise stores.error(f"environment {name!r} has no store")
    if not environments:
        raise node.error("at least one environment is needed")
    return environments


def _store(name: str, node: Node) -> StoreConfig:
    kind = node.mapping(required=("kind",))["kind"].text()
    allowed: frozenset[str] | None = None
    required: tuple[str, ...] = ()
    if kind in _SETTINGS:
        allowed, required = _SETTINGS[kind]
    extra = frozenset({"kind", "verify", "changes"})
    fields = node.mapping(allowed | extra if allowed is not None else None, required=required)
    settings = {key: _setting(key, value) for key, value in fields.items() if key not in extra}
    verify = None
    if "verify" in fields:
        verify = {key: _setting(key, value) for key, value in fields["verify"].mapping(allowed).items()}
        if not verify:
            raise fields["verify"].error("the verifier needs credentials of its own, or no section at all")
    return StoreConfig(name, kind, settings, _changes(fields.get("changes"), kind), verify)


def _changes(node: Node | None, kind: str) -> Changes:
    if node is None:
        return Changes.CLIENT
    if kind == "postgres":
        raise node.error("PostgreSQL has a change log, which is always followed; leave the key out")
    chosen = Changes(node.choice([c.value for c in Changes]))
    if chosen is Changes.HINTS and kind in _SETTINGS and kind not in _HINTING:
        raise node.error(f"a store of kind {kind} tells nobody what is touched; reconcile compares instead")
    return chosen


def _agreed(environments: Mapping[str, Mapping[str, StoreConfig]], node: Node) -> None:
    """A tenant moves both ways: one store is followed in one way, in whichever environment it is."""
    seen: dict[str, tuple[str, Changes]] = {}
    for environment, stores in environments.items():
        for name, store in stores.items():
            first, changes = seen.setdefault(name, (environment, store.changes))
            if changes is not store.changes:
                raise node.error(
                    f"store {name!r} has changes {changes.value!r} in {first!r} and {store.changes.value!r} in "
                    f"{environment!r}; say the same in both"
                )


def _setting(key: str, node: Node) -> str:
    """A setting as text; some are written without quotes."""
    if key == "moves":
        return "true" if node.boolean() else "false"
    return str(node.integer(minimum=1)) if key == "wal_archive_days" else node.text()


def _tiers(
    node: Node | None, policy: MigrationPolicy, hybrid: Mapping[str, Strategy], folder: Path
) -> dict[str, TierConfig]:
    tiers: dict[str, TierConfig] = {}
    for name, place in (node.mapping() if node is not None else {}).items():
        fields = place.mapping({"strategy", *_POLICY_KEYS})
        of_tier = policy
        if "strategy" in fields:
            chosen = Strategy(
                fields.pop("strategy").choice([s.value for s in Strategy if s is not Strategy.HYBRID])
            )
            of_tier = replace(policy, strategy=chosen, strategy_why=f"tier {name}")
        elif name in hybrid:
            why = f"tier {name} in policies.hybrid"
            of_tier = replace(policy, strategy=hybrid[name], strategy_why=why)
        of_tier = _with(fields, of_tier, folder)
        tiers[name] = TierConfig(name, of_tier.strategy, of_tier)
    return tiers


def _strategy(
    node: Node | None, policy: MigrationPolicy, tiers: Node | None
) -> tuple[MigrationPolicy, dict[str, Strategy]]:
    """The policy with the general strategy, and what ``policies.hybrid`` says by tier."""
    fields = node.mapping() if node is not None else {}
    chosen = Strategy(fields["strategy"].choice(list(Strategy))) if "strategy" in fields else None
    if (chosen is Strategy.HYBRID) is not ("hybrid" in fields):
        place = fields.get("hybrid") or fields["strategy"]
        raise place.error("strategy: hybrid and the key hybrid, a strategy by tier, belong together")
    hybrid: dict[str, Strategy] = {}
    if "hybrid" in fields:
        names = tiers.mapping() if tiers is not None else {}
        plain = [s.value for s in Strategy if s is not Strategy.HYBRID]
        by_tier = fields["hybrid"].mapping(set(names))
        hybrid = {name: Strategy(place.choice(plain)) for name, place in by_tier.items()}
        return replace(policy, strategy_why="the tenant's tier is not in policies.hybrid"), hybrid
    if chosen is not None:
        return replace(policy, strategy=chosen, strategy_why="policies.strategy"), hybrid
    return policy, hybrid


#: Keys of ``policies``; a tier may change any of them.
_POLICY_KEYS = frozenset(
    {
        "cutover",
        "settle",
        "workers",
        "verification_max_age",
        "max_repairs",
        "flip",
        "provision",
        "cutover_steps",
        "gates",
        "window",
    }
)


def _policy(node: Node | None, base: MigrationPolicy, folder: Path) -> MigrationPolicy:
    return base if node is None else _with(node.mapping({"strategy", "hybrid", *_POLICY_KEYS}), base, folder)


def _with(fields: Mapping[str, Node], base: MigrationPolicy, folder: Path) -> MigrationPolicy:
    """``base`` with what the keys change."""

    def get(key: str, read: Callable[[Node], T], default: T) -> T:
        return read(fields[key]) if key in fields else default

    return replace(
        base,
        cutover=get("cutover", lambda node: Cutover(node.choice([c.value for c in Cutover])), base.cutover),
        settle_s=get("settle", _seconds, base.settle_s),
        workers=get("workers", lambda node: node.integer(minimum=1, maximum=_MOST_WORKERS), base.workers),
        verification_max_age_s=get("verification_max_age", _positive, base.verification_max_age_s),
        max_repairs=get("max_repairs", lambda node: node.integer(minimum=0), base.max_repairs),
        flip=get("flip", lambda node: _flip(node, base.flip), base.flip),
        provision=get("provision", lambda node: _hook(node, folder), base.provision),
        cutover_steps=get("cutover_steps", read_steps, base.cutover_steps),
        gates=get("gates", lambda node: read_gates(node, base.gates), base.gates),
        window=get("window", lambda node: _window(node, base.window), base.window),
    )


def _flip(node: Node, base: FlipBudget) -> FlipBudget:
    durations = {
        "fence_ttl": "fence_ttl_s",
        "pause_budget": "pause_s",
        "lock_budget": "lock_s",
        "marker_budget": "marker_s",
        "lag": "lag_s",
    }
    counts = {"dirty_items": 0, "attempts": 1, "counter_margin": 0}
    fields = node.mapping({*durations, *counts})
    limits: dict[str, Any] = {
        field: _positive(fields[key]) for key, field in durations.items() if key in fields
    }
    limits |= {key: fields[key].integer(minimum=least) for key, least in counts.items() if key in fields}
    budget = replace(base, **limits)
    if budget.lock_s + budget.marker_s >= budget.fence_ttl_s:
        raise node.error(
            "fence_ttl must be longer than lock_budget and marker_budget together, "
            "or the fence ends before a flip can"
        )
    return budget


def _window(node: Node, base: WindowPolicy) -> WindowPolicy:
    fields = node.mapping({"opens", "for"})
    opens = fields["opens"].text() if "opens" in fields else base.opens
    if "opens" in fields and not is_time_of_day(opens):
        raise fields["opens"].error('a time of day in UTC is needed, such as "02:30"')
    return WindowPolicy(opens, _positive(fields["for"]) if "for" in fields else base.seconds)


def _hook(node: Node, folder: Path) -> ProvisionHook:
    fields = node.mapping({"command", "terraform", "timeout"})
    command = tuple(item.text() for item in fields["command"].list()) if "command" in fields else ()
    if "command" in fields and not command:
        raise fields["command"].error("a command and its arguments are needed")
    return ProvisionHook(
        command=command,
        terraform=str(folder / fields["terraform"].text()) if "terraform" in fields else "",
        timeout_s=_positive(fields["timeout"]) if "timeout" in fields else ProvisionHook().timeout_s,
    )


def _seconds(node: Node) -> float:
    return node.seconds()


def _positive(node: Node) -> float:
    return node.seconds(positive=True)
