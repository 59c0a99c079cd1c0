"""lifecycle.yaml: what it may say, and how each mistake is answered."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tenant_lifecycle import config
from tenant_lifecycle.errors import ConfigError
from tenant_lifecycle.model.flip import FlipBudget
from tenant_lifecycle.model.plan import Cutover
from tenant_lifecycle.model.policy import MigrationPolicy, ProvisionHook

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
  flip: {fence_ttl: 3s, lock_budget: 100ms, marker_budget: 1s, lag: 250ms, dirty_items: 10, attempts: 2, counter_margin: 0}
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
        flip=FlipBudget(fence_ttl_s=3.0, lock_s=0.1, marker_s=1.0, dirty_items=10, lag_s=0.25, attempts=2, counter_margin=0),
        provision=ProvisionHook(("./make", "{tenant}"), "/etc/tl/tf", 90.0),
    )  # fmt: skip
    assert full.policy == expected
    assert full.policy_for("platinum") == replace(
        expected, workers=8, flip=replace(expected.flip, attempts=9)
    )
    assert full.policy_for("bronze") == replace(expected, settle_s=0.0, cutover=Cutover.AUTO)
    assert full.tiers["bronze"].strategy is config.Strategy.MAINTENANCE_WINDOW


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
