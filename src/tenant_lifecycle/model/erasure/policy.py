"""Rules that erasures follow, from ``lifecycle.yaml``; every default is the careful one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tenant_lifecycle.model.erasure.holds import RELEASE_DELAY_S
from tenant_lifecycle.model.erasure.manifest import within
from tenant_lifecycle.model.erasure.outcome import Level
from tenant_lifecycle.model.erasure.request import Exception17

_DAY_S = 86400.0


@dataclass(frozen=True, slots=True)
class RetentionRule:
    """A set that is kept on a legal ground until a date, although the rest is erased."""

    #: The store's name inside an environment: ``postgres``.
    store: str
    set: str
    ground: Exception17
    #: Seconds since 1970.
    until: float
    #: What the law is called, for people: ``tax records, 10 years``.
    why: str

    def keeps(self, system: str, set_name: str, now: float) -> bool:
        """Whether the set of this system (``blue/postgres``) is kept at this time."""
        return self.of(system) and within(set_name, self.set) and now < self.until

    def of(self, system: str) -> bool:
        """Whether the rule is about a set of this system."""
        return self.store == system.rpartition("/")[2]


@dataclass(frozen=True, slots=True)
class ErasurePolicy:
    """Who has to agree, how long to wait, what has to be proven."""

    #: People other than the requester who have to approve the plan.
    approvals: int = 2
    approval_valid_s: float = 7 * _DAY_S
    cooling_off_s: float = _DAY_S
    #: Between two looks, so that what is on its way arrives.
    settle_s: float = 60.0
    #: After the live systems were verified.
    rescans_s: tuple[float, ...] = (_DAY_S, 7 * _DAY_S, 30 * _DAY_S)
    #: Times that leftovers are deleted again before a person is asked.
    rounds: int = 3
    #: Share by which counts may grow between the approved plan and the start.
    tolerance: float = 0.1
    #: Attempts at a system that does not answer before its outcome is "not verified".
    attempts: int = 40
    #: Other tenants whose items are counted before and after.
    neighbours: int = 5
    #: An existing tenant whose data the verifier has to find wherever it looks; "" if there is none.
    control_tenant: str = ""
    hold_release_s: float = RELEASE_DELAY_S
    #: Kept free before the due date when the latest safe start is reckoned.
    margin_s: float = 2 * _DAY_S
    #: What has to be proven, by kind of store.
    required: Mapping[str, Level] = field(default_factory=dict)
    retention: tuple[RetentionRule, ...] = ()

    def required_of(self, kind: str) -> Level:
        """What has to be proven of a store of this kind."""
        return self.required.get(kind, DEFAULT_REQUIRED.get(kind, Level.LOGICAL))

    def kept(self, system: str, set_name: str, now: float) -> RetentionRule | None:
        """The rule by which a set is kept; of several, the one that ends last."""
        rules = [rule for rule in self.retention if rule.keeps(system, set_name, now)]
        return max(rules, key=lambda rule: rule.until, default=None)


#: Systems that list everything they have, hidden places included, have to be listed in full.
DEFAULT_REQUIRED: Mapping[str, Level] = {
    "postgres": Level.EXHAUSTIVE,
    "redis": Level.EXHAUSTIVE,
    "s3": Level.EXHAUSTIVE,
}
