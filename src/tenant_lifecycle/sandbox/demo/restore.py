"""The demonstration of a restore: a tenant is used, ruined in every store, and brought back as it was.

What was ruined is decided by nobody's word but the ledger's: every acknowledged request up to the moment is held
against every store afterwards, and neighbours against theirs.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psycopg

from tenant_lifecycle.errors import LifecycleError
from tenant_lifecycle.model.backup.fingerprint import Fingerprint, fingerprint
from tenant_lifecycle.model.backup.when import time_text
from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.model.operation import Operation
from tenant_lifecycle.sandbox.demo.load_process import load_process
from tenant_lifecycle.sandbox.demo.operating import output, succeeded
from tenant_lifecycle.sandbox.environment import Fill, Sandbox, running
from tenant_lifecycle.sandbox.http_load.config import HttpLoadConfig
from tenant_lifecycle.sandbox.ledger_check import LedgerReport, check
from tenant_lifecycle.sandbox.parts import Part
from tenant_lifecycle.stores.backing import Backs
from tenant_lifecycle.stores.base import Feed, Removes
from tenant_lifecycle.wiring import Lifecycle, find_installation
from tenant_lifecycle.wiring.backups import Wanted
from tenant_lifecycle.wiring.repository import is_archived

Say = Callable[[str], None]
#: A small tenant, because the emulators of vectors and objects are slow.
TENANT, NEIGHBOUR = TenantId("wonka"), TenantId("gringotts")
ASKER, OTHER = "on call", "platform lead"
_PARTS = (Part.REDIS, Part.VECTORS, Part.OBJECTS, Part.APP)
_PATIENCE_S = 60.0
_KEY = b"demonstration of a restore......"
Prints = dict[str, Mapping[str, Fingerprint]]


@dataclass(frozen=True, slots=True)
class RestoreSettings:
    """How big and how fast."""

    scale: float = 0.2
    #: Requests a second of all sessions, for so many seconds.
    rate: float = 16.0
    seconds: float = 4.0


@dataclass(frozen=True, slots=True)
class RestoreResult:
    """What was counted."""

    #: The moment that was restored.
    target_time: str
    #: Promises of the ledger up to that moment that do not hold in some store afterwards.
    differences: int
    #: From the order to the tenant's writes going on, a person's words included.
    seconds: float
    #: How long its writes were held.
    held_s: float
    items: int
    ruined: int
    writes_acknowledged: int
    stores: int
    neighbours_unchanged: bool

    @property
    def ok(self) -> bool:
        """Whether every promise held."""
        return not self.differences and self.ruined > 0 and self.neighbours_unchanged and self.stores > 0

    def as_json(self) -> dict[str, Any]:
        return {"restore": asdict(self)}


def run_restore_demo(settings: RestoreSettings, say: Say) -> RestoreResult:
    """Run it from nothing to nothing.

    Raises:
        LifecycleError: the restore did not go as it should; the message says why.
    """
    with tempfile.TemporaryDirectory(prefix="tenant-lifecycle-demo-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        say("starting PostgreSQL, Redis, emulators of Pinecone and S3, and the application ...")
        sandbox = Sandbox(folder / "sandbox", parts=_PARTS)
        with (
            running(sandbox, scale=settings.scale, green=Fill.SCHEMA),
            archiver_process(sandbox.folder / "lifecycle.yaml"),
            Lifecycle(find_installation(sandbox.folder / "lifecycle.yaml")) as lifecycle,
            lifecycle.runner(),
        ):
            return _Story(sandbox, lifecycle, folder / "ledger", settings, say).tell()


@contextmanager
def archiver_process(file: Path) -> Iterator[None]:
    """``tenantctl archiver run`` for the length of the block."""
    command = [sys.executable, "-m", "tenant_lifecycle.cli", "--config", str(file), "archiver", "run"]
    with (file.parent / "archiver.log").open("ab") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


class _Story:
    """One disaster and its end, told while it happens."""

    def __init__(
        self, sandbox: Sandbox, lifecycle: Lifecycle, ledger: Path, settings: RestoreSettings, say: Say
    ) -> None:
        self._sandbox, self._lifecycle, self._ledger = sandbox, lifecycle, ledger
        self._settings, self._say = settings, say

    def tell(self) -> RestoreResult:
        """Backed up, used, ruined, restored to the moment before, held against the ledger."""
        base = self._backed_up()
        self._use()
        before_us = self._logged()
        neighbour = self._prints(NEIGHBOUR)
        self._ruin(base)
        ruined = len(self._judge().violations)
        self._say(f"ransomware: {ruined:,} promises of the ledger do not hold any more")
        began = time.monotonic()
        done = self._restored(time_text(before_us))
        seconds = time.monotonic() - began
        report = self._judge()
        self._say(f"held against the ledger: {len(report.violations)} differences")
        for one in report.violations[:5]:
            self._say(f"  {one.wrong.value}: {one.table} {'/'.join(one.key)}: {one.detail}")
        return RestoreResult(
            target_time=time_text(int(done.spec["at_us"])),
            differences=len(report.violations),
            seconds=round(seconds, 2),
            held_s=float(output(self._lifecycle, done, "promote").get("held_s", 0.0)),
            items=int(base["items"]),
            ruined=ruined,
            writes_acknowledged=report.acknowledged,
            stores=len(done.spec["stores"]),
            neighbours_unchanged=self._prints(NEIGHBOUR) == neighbour,
        )

    def _use(self) -> None:
        self._ledger.mkdir()
        config = HttpLoadConfig(
            [self._sandbox.urls["blue"]], {TENANT: 8, NEIGHBOUR: 2}, self._ledger,
            rate=self._settings.rate, first_writer=1000,
        )  # fmt: skip
        with load_process("tenant_lifecycle.sandbox.http_load.load", config.to_json()) as load:
            time.sleep(self._settings.seconds)
            summary = load.stop()
        self._say(f"used over HTTP: {summary['acknowledged']:,} writes acknowledged")

    def _await_archiver(self) -> None:
        """A base has a log that goes on from it only if the log began before."""
        for one in (TENANT, NEIGHBOUR):
            self._lifecycle.backups.protect(one, "blue")
        backups, end = self._lifecycle.installation.backups, time.monotonic() + _PATIENCE_S
        for name, store in self._lifecycle.stores["blue"].items():
            while isinstance(store, Backs) and not is_archived(backups, "blue", name):
                if time.monotonic() > end:
                    raise LifecycleError(f"the archiver has not begun with {name}")
                time.sleep(0.1)

    def _backed_up(self) -> Mapping[str, Any]:
        self._await_archiver()
        service = self._lifecycle.backups
        done = succeeded(self._lifecycle, service.start_backup(TENANT, "blue", mark="before", actor=ASKER))
        base = output(self._lifecycle, done, "take")
        self._say(
            f"base {base['base']}: {base['items']:,} items of {len(base['stores'])} stores, "
            f"{base['raw_bytes'] / 1e6:.1f} MB in {base['stored_bytes'] / 1e6:.1f} MB, decrypted and compared"
        )
        return base

    def _ruin(self, base: Mapping[str, Any]) -> None:
        """Texts are overwritten; everything in the other stores is deleted."""
        with psycopg.connect(self._sandbox.dsn("blue")) as conn:
            conn.execute("SET row_security = off")
            conn.execute(
                "UPDATE documents SET body = 'your data is encrypted', title = 'README' WHERE tenant_id = %s",
                (TENANT,),
            )
            conn.execute("DELETE FROM load_writes WHERE tenant_id = %s", (TENANT,))
        for name, store in self._lifecycle.stores["blue"].items():
            if name != Part.POSTGRES and name in base["stores"] and isinstance(store, Removes):
                store.remove(Feed("ransomware", TENANT, 0), lambda: None)

    def _logged(self) -> int:
        """The moment before the disaster, when the change log of every store has come that far."""
        with psycopg.connect(self._sandbox.dsn("blue")) as conn:
            (before_us,) = conn.execute(
                "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint"
            ).fetchone() or (0,)
        end = time.monotonic() + _PATIENCE_S
        while True:
            window = self._lifecycle.backups.repository(TENANT).window()
            if window.intervals and window.intervals[-1].to_us >= before_us:
                first = time_text(window.intervals[0].from_us)
                self._say(f"every moment from {first} on can be restored, {len(window.gaps)} gap(s)")
                return int(before_us)
            if time.monotonic() > end:
                raise LifecycleError(
                    f"the change log does not reach {time_text(before_us)}: "
                    f"{'; '.join(gap.why for gap in window.gaps) or 'nothing is archived'}"
                )
            time.sleep(0.1)

    def _restored(self, to: str) -> Operation:
        service = self._lifecycle.backups
        waiting = succeeded(
            self._lifecycle, service.start_restore(Wanted(TENANT, to, "blue"), actor=ASKER), waits=True
        )
        for store, diffs in service.diff(waiting.id, 0).items():
            back, away, changed = (
                sum(getattr(one, field) for one in diffs)
                for field in ("only_restored", "only_live", "changed")
            )
            self._say(f"  {store:<10} {back:>6,} come back, {away:,} go away, {changed:,} change")
        service.promote(waiting.id, actor=OTHER)
        done = succeeded(self._lifecycle, waiting)
        held = output(self._lifecycle, done, "promote").get("held_s")
        self._say(f"promoted by the {OTHER}; writes were held for {held} s")
        return done

    def _judge(self) -> LedgerReport:
        with self._sandbox.items("blue") as items:
            return check(self._ledger, self._sandbox.dsn("blue"), [TENANT], items)

    def _prints(self, tenant: TenantId) -> Prints:
        """Fingerprints of everything that a tenant has, as a backup would read it."""
        found: Prints = {}
        for name, store in self._lifecycle.stores["blue"].items():
            if isinstance(store, Backs):
                with store.read_base(tenant, lambda: None) as reading:
                    found[name] = {one: fingerprint(_KEY, reading.items(one)) for one in reading.shapes}
        return found


def restore_lines(result: RestoreResult) -> list[str]:
    """The summary for people."""
    rows = [
        ("restored", f"{result.items:,} items in {result.stores} stores, as of {result.target_time}"),
        (
            "ruined before",
            f"{result.ruined:,} promises of the ledger did not hold any more",
        ),
        (
            "differences after",
            f"{result.differences} ({result.writes_acknowledged:,} writes were acknowledged)",
        ),
        ("neighbours", "unchanged" if result.neighbours_unchanged else "CHANGED"),
        ("writes held", f"{result.held_s:.2f} s"),
        ("time", f"{result.seconds:.1f} s"),
    ]
    return [f"{name:<24} {value}" for name, value in rows]
