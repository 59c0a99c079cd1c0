"""How often a tenant is backed up, how long that is kept and how it is proven: a policy per service tier."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

_HOUR_S = 3600.0
_DAY_S = 86400.0
#: What a cold storage class charges for at least, whatever is deleted sooner.
COLD_LEAST_S = 90 * _DAY_S
#: A base with this label is kept as long as it has it; the value says why.
HOLD_LABEL = "hold"


@dataclass(frozen=True, slots=True)
class BackupPolicy:
    """The promises to the tenants of one tier. Durations in seconds."""

    #: From one base to the next.
    every_s: float
    #: From one base that needs no parent to the next; deltas lie between them.
    full_every_s: float
    #: No rule below keeps a base longer than this.
    keep_s: float
    #: Of so many of the newest days, weeks and months that have bases, the last base each.
    daily: int
    weekly: int
    monthly: int
    #: Every second of so long back can be restored.
    pitr_s: float
    #: How old the newest restorable moment may be.
    rpo_s: float
    #: So many of the newest bases are kept, whatever their age.
    least_bases: int = 2
    #: A second region has a copy.
    cross_region: bool = False
    #: From one restore drill to the next.
    drill_every_s: float = 30 * _DAY_S
    #: Packs older than this may go to cold storage; None: never.
    cold_after_s: float | None = None

    def earliest_expiry_us(self, finished_us: int) -> int:
        """For a manifest: before this no rule is asked whether the base is still needed."""
        return finished_us + round(self.pitr_s * 1_000_000)

    def contradictions(self) -> tuple[str, ...]:
        """What cannot be promised at once, as sentences; empty for a sound policy."""
        cold = self.cold_after_s
        wrong = {
            "pitr is longer than keep": self.pitr_s > self.keep_s,
            "full_every is shorter than every": self.full_every_s < self.every_s,
            "rpo is longer than pitr": self.rpo_s > self.pitr_s,
            "cold_after lies inside pitr; a restore would wait for the thaw": cold is not None
            and cold < self.pitr_s,
            "cold storage charges 90 days at least; keep must be 90 days longer than cold_after": cold
            is not None
            and self.keep_s - cold < COLD_LEAST_S,
        }
        return tuple(sentence for sentence, holds in wrong.items() if holds)


PLATINUM = BackupPolicy(
    every_s=_DAY_S, full_every_s=7 * _DAY_S, keep_s=365 * _DAY_S, daily=35, weekly=52, monthly=12,
    pitr_s=35 * _DAY_S, rpo_s=5.0, cross_region=True, cold_after_s=35 * _DAY_S,
)  # fmt: skip
GOLD = BackupPolicy(
    every_s=7 * _DAY_S, full_every_s=28 * _DAY_S, keep_s=90 * _DAY_S, daily=0, weekly=13, monthly=3,
    pitr_s=14 * _DAY_S, rpo_s=30.0,
)  # fmt: skip
BRONZE = BackupPolicy(
    every_s=30 * _DAY_S, full_every_s=30 * _DAY_S, keep_s=30 * _DAY_S, daily=0, weekly=0, monthly=1,
    pitr_s=7 * _DAY_S, rpo_s=60.0,
)  # fmt: skip
#: The tiers that need no word in the configuration.
TIERS: Mapping[str, BackupPolicy] = MappingProxyType({"platinum": PLATINUM, "gold": GOLD, "bronze": BRONZE})


@dataclass(frozen=True, slots=True)
class CarePolicy:
    """How the repository is kept, the same for all tenants. Durations in seconds."""

    #: Between the mark and the deletion of an object.
    grace_s: float = 72 * _HOUR_S
    #: Every byte was decrypted and compared within this time (level L2).
    verify_within_s: float = 30 * _DAY_S
    #: After a policy changed, what the former one keeps is kept for so long.
    change_rest_s: float = 7 * _DAY_S


@dataclass(frozen=True, slots=True)
class RestorePolicy:
    """How tenants are restored, the same for all. Durations in seconds."""

    #: Who asked for a restore may not be the one who promotes it.
    four_eyes: bool = True
    #: How long writes may be held at most while live data is replaced.
    window_s: float = _HOUR_S
    #: How long a preview waits for somebody's word before it is discarded.
    preview_s: float = 7 * _DAY_S


@dataclass(frozen=True, slots=True)
class BackupPolicies:
    """By tier, and the policy of tenants whose tier has none."""

    tiers: Mapping[str, BackupPolicy] = field(default_factory=lambda: TIERS)
    default_tier: str = "gold"
    care: CarePolicy = field(default_factory=CarePolicy)
    restore: RestorePolicy = field(default_factory=RestorePolicy)

    def of(self, tier: str) -> BackupPolicy:
        """The tier's; of an unknown tier or none, the default tier's."""
        return self.tiers.get(tier, self.tiers[self.default_tier])

    def tier_of(self, tier: str) -> str:
        """The name of the tier whose policy `of` gives."""
        return tier if tier in self.tiers else self.default_tier
