"""lifecycle.yaml: what it may say, and how each mistake is answered."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tenant_lifecycle import config
from tenant_lifecycle.errors import ConfigError
from tenant_lifecycle.model.changes import Changes
from tenant_lifecycle.model.flip import FlipBudget
from tenant_lifecycle.model.gates import GatePolicy, OnFailure
from tenant_lifecycle.model.plan import Cutover
from tenant_lifecycle.model.policy import MigrationOptions, MigrationPolicy, ProvisionHook
from tenant_lifecycle.model.window import WindowPolicy
from tenant_lifecycle.wiring.health import open_health

SMALL = """\
version: 1
environments:
  blue: {stores: {postgres: {kind: postgres, dsn: "${BLUE_DSN}"}}}
  green: {stores: {postgres: {kind: postgres, dsn: "host=green"}}}
"""
ENVIRON = {"BLUE_DSN": "postgresql://app:hunter2@blue/app", "CONTROL": "postgresql://c:hunter2@control/c"}


def read(more: str = "", base: str = SMALL) -> config.Config:
    return config.loads(base + more, Path("/etc/tl/lifecycle.yaml"), environ=ENVIRON)


def test_the_smallest_file_and_its_defaults() -> None:
    small = read()
    assert small.environments["blue"]["postgres"].settings == {"dsn": ENVIRON["BLUE_DSN"]}
    assert small.control_database == Path("/etc/tl/.tenant-lifecycle/control.db")
    assert small.state_folder == Path("/etc/tl/.tenant-lifecycle/state")
    assert small.ownership_file == Path("/etc/tl/ownership.yaml")
    assert small.policy == MigrationPolicy()
    assert small.policy_for("platinum") == MigrationPolicy()


def test_everything_that_can_be_said() -> None:
    full = read(
        """\
control: {database: "${CONTROL}"}
state_folder: /var/lib/tl
ownership: maps/ownership.yaml
policies:
  cutover: manual
  settle: 12h
  workers: 16
  verification_max_age: 2h30m
  max_repairs: 0
  flip: {fence_ttl: 3s, pause_budget: 50ms, lock_budget: 100ms, marker_budget: 1s, lag: 250ms, dirty_items: 10, attempts: 2, counter_margin: 0}
  provision: {command: [./make, "{tenant}"], terraform: tf, timeout: 90s}
tiers:
  platinum: {strategy: zero_downtime, workers: 8, flip: {attempts: 9}}
  bronze: {strategy: maintenance_window, settle: 0s, cutover: auto}
"""
    )
    assert full.control_database == ENVIRON["CONTROL"]
    assert full.state_folder == Path("/var/lib/tl")
    assert full.ownership_file == Path("/etc/tl/maps/ownership.yaml")
    expected = MigrationPolicy(
        cutover=Cutover.MANUAL, settle_s=43200.0, workers=16, verification_max_age_s=9000.0, max_repairs=0,
        flip=FlipBudget(fence_ttl_s=3.0, pause_s=0.05, lock_s=0.1, marker_s=1.0, dirty_items=10, lag_s=0.25, attempts=2, counter_margin=0),
        provision=ProvisionHook(("./make", "{tenant}"), "/etc/tl/tf", 90.0),
    )  # fmt: skip
    assert full.policy == expected
    assert full.policy_for("platinum") == replace(
        expected, workers=8, flip=replace(expected.flip, attempts=9), strategy_why="tier platinum"
    )
    assert full.policy_for("bronze") == replace(
        expected, settle_s=0.0, cutover=Cutover.AUTO, strategy_why="tier bronze",
        strategy=config.Strategy.MAINTENANCE_WINDOW,
    )  # fmt: skip
    assert full.tiers["bronze"].strategy is config.Strategy.MAINTENANCE_WINDOW


def test_gates_steps_and_health_sources() -> None:
    full = read(
        """\
policies:
  cutover_steps: [5, 50]
  gates: {soak: 10m, samples: 20, p99_floor: 20ms, errors: 0.02, on_failure: abort}
health:
  prom: {kind: prometheus, url: "http://p:9090", token: "${CONTROL}", queries: {requests: r}, timeout: 1s}
  pages: {kind: probe, urls: {blue: "http://b", green: "http://g"}, requests: 2}
  answers: {kind: query, sql: SELECT 1 AS business}
  edge: {kind: router, router: edge}
tiers:
  gold: {cutover_steps: [], gates: {soak: 1m}}
"""
    )
    gates = GatePolicy(soak_s=600.0, samples=20, p99_floor_ms=20.0, errors=0.02, on_failure=OnFailure.ABORT)
    assert full.policy.cutover_steps == (5, 50) and full.policy.gates == gates
    assert full.policy_for("gold").cutover_steps == ()
    assert full.policy_for("gold").gates == replace(gates, soak_s=60.0)
    assert list(full.health) == ["prom", "pages", "answers", "edge"]
    assert full.health["prom"].timeout_s == 1.0 and ENVIRON["CONTROL"] not in repr(full.health["prom"])
    assert full.health["pages"].urls["green"] == "http://g" and full.health["answers"].store == "postgres"
    # What they become: kind router is opened by whoever opens the routers.
    assert [source.name for source in open_health(full)] == ["prom", "pages", "answers"]


def test_a_query_that_would_take_an_id_for_code_is_refused_with_its_place() -> None:
    full = read(
        "health:\n  prom: {kind: prometheus, url: x, queries: {requests: 'r{tenant=~\"$tenant\"}'}}\n"
    )
    with pytest.raises(
        ConfigError, match=r"lifecycle.yaml:6: health.prom.queries: \$tenant must stand alone"
    ):
        open_health(full)


def changes_of(*stores: str) -> config.Config:
    """One store called other in environments a, b, ..."""
    places = "".join(
        f"  {name}: {{stores: {{other: {store}}}}}\n" for name, store in zip("ab", stores, strict=False)
    )
    return config.loads(f"version: 1\nenvironments:\n{places}", Path("lifecycle.yaml"))


def test_a_store_says_how_its_changes_are_learned() -> None:
    redis, s3 = "{{kind: redis, url: x, changes: {}}}", "{{kind: s3, bucket: x, changes: {}}}"
    assert changes_of("{kind: redis, url: x}").changes == {"other": Changes.CLIENT}
    assert changes_of(redis.format("hints"), redis.format("hints")).changes == {"other": Changes.HINTS}
    assert changes_of(s3.format("reconcile")).changes == {"other": Changes.RECONCILE}
    for stores, said in (
        ([redis.format("hint")], "'hint' is not a valid choice; did you mean 'hints'"),
        ([s3.format("hints")], "a store of kind s3 tells nobody what is touched"),
        (["{kind: postgres, dsn: x, changes: client}"], "PostgreSQL has a change log"),
        (
            [redis.format("hints"), redis.format("client")],
            "'hints' in 'a' and 'client' in 'b'; say the same in both",
        ),
    ):
        with pytest.raises(ConfigError) as caught:
            changes_of(*stores)
        assert said in str(caught.value)


def test_a_window_is_a_policy_and_a_tier_changes_it() -> None:
    full = read(
        "policies: {window: {opens: '02:30', for: 30m}}\n"
        "tiers: {bronze: {strategy: maintenance_window, window: {for: 2h}}}\n"
    )
    assert full.policy.window == WindowPolicy("02:30", 1800.0)
    assert full.policy_for("bronze").window == WindowPolicy("02:30", 7200.0)
    chosen = MigrationOptions(strategy=config.Strategy.HYBRID, window_opens="now").over(
        full.policy_for("bronze")
    )
    assert chosen.strategy is config.Strategy.MAINTENANCE_WINDOW and chosen.strategy_why == "tier bronze"
    assert chosen.window == WindowPolicy("now", 7200.0)


def test_a_hybrid_gives_each_tier_its_strategy() -> None:
    full = read(
        "policies: {strategy: hybrid, hybrid: {gold: rolling, bronze: maintenance_window}}\n"
        "tiers: {platinum: {}, gold: {}, bronze: {strategy: zero_downtime}}\n"
    )
    assert {name: tier.strategy.value for name, tier in full.tiers.items()} == {
        "platinum": "zero_downtime", "gold": "rolling", "bronze": "zero_downtime",
    }  # fmt: skip
    assert full.policy_for("gold").strategy_why == "tier gold in policies.hybrid"
    assert full.policy_for("").strategy_why == "the tenant's tier is not in policies.hybrid"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ctl.db", Path("/etc/tl/ctl.db")),
        ("/srv/a=b/ctl.db", Path("/srv/a=b/ctl.db")),
        ("sqlite:////srv/ctl.db", "sqlite:////srv/ctl.db"),
        ("host=control dbname=c", "host=control dbname=c"),
    ],
)
def test_the_control_database_is_a_file_or_an_address(text: str, expected: Path | str) -> None:
    assert read(f'control: {{database: "{text}"}}\n').control_database == expected


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("policys: {}\n", "lifecycle.yaml:5: policys: unknown key 'policys'; did you mean 'policies'?"),
        ("policies: {settel: 1h}\n", ":5: policies.settel: unknown key 'settel'; did you mean 'settle'?"),
        ("policies:\n  workers: 17\n", ":6: policies.workers: 17 is too large; the largest is 16"),
        ("policies: {workers: 0}\n", "policies.workers: 0 is too small"),
        ("policies: {settle: 24}\n", "policies.settle: expected text"),
        ("policies: {settle: soon}\n", "policies.settle: 'soon' is no duration; write a number and a unit"),
        (
            "policies: {cutover: automatic}\n",
            "policies.cutover: 'automatic' is not a valid choice; did you mean 'auto'?",
        ),
        ("policies: {verification_max_age: 0s}\n", "must be longer than nothing"),
        ("policies: {flip: {fence_ttl: 500ms}}\n", "fence_ttl must be longer than"),
        ("policies: {flip: {attempts: 0}}\n", "policies.flip.attempts: 0 is too small"),
        ("policies: {provision: {command: []}}\n", "a command and its arguments are needed"),
        ("policies: {provision: {command: rm -rf}}\n", "expected a list, found text"),
        ("tiers: {gold: {strategy: zero}}\n", "tiers.gold.strategy"),
        ("tiers: {gold: {strategy: hybrid}}\n", "tiers.gold.strategy"),
        ("policies: {strategy: hybrid}\n", ":5: policies.strategy: strategy: hybrid and the key hybrid"),
        ("policies: {hybrid: {}}\n", ":5: policies.hybrid: strategy: hybrid and the key hybrid"),
        (
            "policies: {strategy: hybrid, hybrid: {gld: rolling}}\ntiers: {gold: {}}\n",
            "policies.hybrid.gld: unknown key 'gld'; did you mean 'gold'?",
        ),
        ("policies:\n  cutover_steps: [10, 10]\n", ":6: policies.cutover_steps[1]: steps must grow"),
        ("policies: {cutover_steps: [100]}\n", "policies.cutover_steps[0]: 100 is too large"),
        (
            "policies: {window: {opens: '25:00'}}\n",
            ":5: policies.window.opens: a time of day in UTC is needed",
        ),
        ("policies: {window: {opens: now}}\n", "policies.window.opens: a time of day in UTC is needed"),
        ("policies: {window: {for: 0s}}\n", "policies.window.for: the duration must be longer"),
        ("policies: {window: {start: '02:00'}}\n", "policies.window.start: unknown key"),
        ("policies: {gates: {errors: 5}}\n", ":5: policies.gates.errors: 5.0 is too large; the largest is 1"),
        ("policies: {gates: {sok: 1m}}\n", "unknown key 'sok'; did you mean 'soak'?"),
        ("policies: {gates: {interval: 0s}}\n", "policies.gates.interval: the duration must be longer"),
        (
            "policies: {gates: {on_failure: retry}}\n",
            "policies.gates.on_failure: 'retry' is not a valid choice",
        ),
        (
            "health: {a: {kind: prometeus}}\n",
            ":5: health.a.kind: 'prometeus' is not a valid choice; did you mean",
        ),
        ("health: {a: {kind: probe}}\n", "health.a: the key 'urls' is missing"),
        ("health: {a: {kind: probe, urls: {}}}\n", "health.a.urls: at least one is needed"),
        ("health: {a: {kind: prometheus, url: x, queries: {request: x}}}\n", "did you mean 'requests'?"),
        ("health: {a: {kind: query, sql: x, url: y}}\n", "health.a.url: unknown key 'url'"),
        ("tiers: {gold: {tier: 1}}\n", "tiers.gold.tier: unknown key"),
        ("control: {dsn: x}\n", "control.dsn: unknown key 'dsn'"),
        ("version: 2\n", "stands here a second time; first in line 1"),
        ("state_folder: ${NOWHERE}\n", ":5: state_folder: the environment variable NOWHERE is not set"),
    ],
)
def test_each_mistake_is_named_with_its_line(more: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(more)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("base", "said"),
    [
        ("version: 2\nenvironments: {}\n", ":1: version: this version of the format is not known"),
        ("environments: {}\n", "the key 'version' is missing"),
        ("version: 1\nenvironments: {}\n", ":2: environments: at least one environment is needed"),
        ("version: 1\nenvironments: {blue: {stores: {}}}\n", "environment 'blue' has no store"),
        ("version: 1\nenvironments: {blue: {}}\n", "environments.blue: the key 'stores' is missing"),
        (
            "version: 1\nenvironments: {blue: {stores: {pg: {kind: postgres}}}}\n",
            "environments.blue.stores.pg: the key 'dsn' is missing",
        ),
        (
            "version: 1\nenvironments: {blue: {stores: {pg: {kind: postgres, dns: x}}}}\n",
            "unknown key 'dns'; did you mean 'dsn'?",
        ),
        ("- 1\n", "expected keys and values, found a list"),
    ],
)
def test_each_mistake_in_the_environments_is_named(base: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(base=base)
    assert said in str(caught.value)


def test_a_store_of_another_package_takes_its_own_settings() -> None:
    base = "version: 1\nenvironments: {blue: {stores: {search: {kind: elastic, url: 'http://x', index: '{tenant}'}}}}\n"
    store = read(base=base).environments["blue"]["search"]
    assert (store.kind, store.settings) == ("elastic", {"url": "http://x", "index": "{tenant}"})


def test_a_repr_shows_no_secret() -> None:
    shown = repr(read('control: {database: "${CONTROL}"}\n'))
    assert "hunter2" not in shown
    assert "blue" in shown


def test_which_file_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=r"lifecycle\.yaml: there is no such file") as caught:
        config.find(None, {})
    assert "tenantctl init" in caught.value.next_step
    for name in ("lifecycle.yaml", "other.yaml", "given.yaml"):
        Path(name).write_text(SMALL)
    assert config.find(None, {}) == Path("lifecycle.yaml")
    assert config.find(None, {"TENANT_LIFECYCLE_CONFIG": "other.yaml"}) == Path("other.yaml")
    assert config.find(Path("given.yaml"), {"TENANT_LIFECYCLE_CONFIG": "other.yaml"}) == Path("given.yaml")


def test_a_store_may_give_the_verifier_credentials_of_its_own() -> None:
    stores = "version: 1\nenvironments: {blue: {stores: {rows: {kind: postgres, dsn: user=app%s}}}}\n"
    found = read(base=stores % ", verify: {dsn: user=verifier}")
    assert found.environments["blue"]["rows"].verify == {"dsn": "user=verifier"}
    assert "verifier" not in repr(found)
    assert read(base=stores % "").environments["blue"]["rows"].verify is None
    for wrong, why in (("{}", "credentials of its own"), ("{url: x}", "unknown key 'url'")):
        with pytest.raises(ConfigError, match=why):
            read(base=stores % f", verify: {wrong}")
