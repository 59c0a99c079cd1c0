"""The demonstration of a clone: a masked copy that passes the leak gate, and one with a planted leak that does not live."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psycopg

from tenant_lifecycle.errors import LifecycleError
from tenant_lifecycle.model.backup.clone import CloneState
from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.model.operation import State
from tenant_lifecycle.sandbox.demo.operating import ended, output, succeeded
from tenant_lifecycle.sandbox.environment import Fill, Sandbox, running
from tenant_lifecycle.sandbox.parts import Part
from tenant_lifecycle.wiring import Lifecycle, find_installation
from tenant_lifecycle.wiring.cloning import WantedClone

Say = Callable[[str], None]
TENANT, CLONE, LEAKY = TenantId("wonka"), TenantId("wonka-staging"), TenantId("wonka-leaky")
ACTOR = "staging team"
_PARTS = (Part.REDIS, Part.VECTORS, Part.OBJECTS)
#: The rule that the planted leak needs: somebody declared titles to be public.
_RULE, _BROKEN_RULE = "        title: free_text\n", "        title: public\n"


@dataclass(frozen=True, slots=True)
class CloneSettings:
    """How big."""

    scale: float = 0.2


@dataclass(frozen=True, slots=True)
class CloneResult:
    """What was counted."""

    #: Items of the clone, in all stores.
    rows: int
    stores: int
    #: Leaks of the clone that was shown.
    leaks: int
    #: Distinct values of the source's people and secrets that were looked for.
    values_searched: int
    planted_leak_caught: bool
    #: Items of the leaky clone that are left anywhere.
    left_of_leaky: int
    seconds: float

    @property
    def ok(self) -> bool:
        """Whether every promise held."""
        return self.rows > 0 and not self.leaks and self.planted_leak_caught and not self.left_of_leaky

    def as_json(self) -> dict[str, Any]:
        return {"clone": asdict(self)}


def run_clone_demo(settings: CloneSettings, say: Say) -> CloneResult:
    """Run it from nothing to nothing.

    Raises:
        LifecycleError: a clone did not go as it should; the message says why.
    """
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="tenant-lifecycle-demo-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        say("starting PostgreSQL, Redis, and emulators of Pinecone and S3 ...")
        sandbox = Sandbox(folder / "sandbox", parts=_PARTS)
        with (
            running(sandbox, scale=settings.scale, green=Fill.RESIDENTS),
            Lifecycle(find_installation(sandbox.folder / "lifecycle.yaml")) as lifecycle,
            lifecycle.runner(),
        ):
            return _Story(sandbox, lifecycle, say).tell(began)


class _Story:
    """Two clones, told while they are made."""

    def __init__(self, sandbox: Sandbox, lifecycle: Lifecycle, say: Say) -> None:
        self._sandbox, self._lifecycle, self._say = sandbox, lifecycle, say

    def tell(self, began: float) -> CloneResult:
        """One that passes, and one that leaks."""
        self._plant()
        succeeded(self._lifecycle, self._lifecycle.backups.start_backup(TENANT, "blue", actor=ACTOR))
        done = succeeded(self._lifecycle, self._lifecycle.cloning.start(self._wanted(CLONE), actor=ACTOR))
        built = output(self._lifecycle, done, "build")
        report = self._lifecycle.cloning.register.get(done.id).report or {}
        self._say(
            f"{CLONE} on green: {built['items']:,} items, {built['values']:,} values of people and secrets looked "
            f"for in it, {report['leaked']} found; shown"
        )
        caught = self._leaks()
        return CloneResult(
            rows=int(built["items"]),
            stores=len(done.spec["stores"]),
            leaks=int(report["leaked"]),
            values_searched=int(built["values"]),
            planted_leak_caught=caught,
            left_of_leaky=self._left(LEAKY),
            seconds=round(time.monotonic() - began, 1),
        )

    def _wanted(self, name: TenantId) -> WantedClone:
        return WantedClone(TENANT, name, "green", ACTOR, "demonstration", 3600.0)

    def _plant(self) -> None:
        """A person's address in the title of a document."""
        with psycopg.connect(self._sandbox.dsn("blue")) as conn:
            planted = conn.execute(
                "UPDATE documents SET title = 'call ' || (SELECT email FROM users JOIN memberships ON user_id = id "
                "WHERE tenant_id = %(tenant)s ORDER BY 1 LIMIT 1) "
                "WHERE id = (SELECT id FROM documents WHERE tenant_id = %(tenant)s ORDER BY 1 LIMIT 1)",
                {"tenant": TENANT},
            ).rowcount
        if planted != 1:
            raise LifecycleError("there is no document to plant an address in")

    def _leaks(self) -> bool:
        """With a rule that lets titles through; whether the gate caught it and destroyed the clone."""
        rules = self._sandbox.folder / "masking.yaml"
        text = rules.read_text(encoding="utf-8")
        rules.write_text(text.replace(_RULE, _BROKEN_RULE), encoding="utf-8")
        try:
            failed = ended(self._lifecycle, self._lifecycle.cloning.start(self._wanted(LEAKY), actor=ACTOR))
        finally:
            rules.write_text(text, encoding="utf-8")
        clone = self._lifecycle.cloning.register.get(failed.id)
        leaks = (clone.report or {}).get("leaks", [])
        for leak in leaks[:3]:
            self._say(f"  leak: {leak['what']} ({leak['kind']}) in {leak['where']}")
        destroyed = failed.state is State.FAILED and clone.state is CloneState.DESTROYED
        self._say(f"{LEAKY}: {'destroyed before anybody saw it' if destroyed else 'NOT DESTROYED'}")
        return destroyed and any(leak["kind"] == "email" for leak in leaks)

    def _left(self, tenant: TenantId) -> int:
        stores = self._lifecycle.stores["green"].values()
        return sum(size.items for store in stores for size in store.inventory(tenant, exact=True))


def clone_lines(result: CloneResult) -> list[str]:
    """The summary for people."""
    rows = [
        ("cloned, masked", f"{result.rows:,} items in {result.stores} stores"),
        ("leaks", f"{result.leaks} of {result.values_searched:,} values looked for"),
        ("planted leak", "caught, the clone destroyed" if result.planted_leak_caught else "NOT CAUGHT"),
        ("left of it", f"{result.left_of_leaky} items"),
        ("time", f"{result.seconds:.0f} s"),
    ]
    return [f"{name:<24} {value}" for name, value in rows]
