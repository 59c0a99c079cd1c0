"""The audit log in the control database: complete, append only, provable, and honest about what was done to it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa

from tenant_lifecycle.catalog import audit
from tenant_lifecycle.catalog.audit_log import AuditLog
from tenant_lifecycle.catalog.database import ControlDatabase
from tenant_lifecycle.catalog.journal import SqlJournal
from tenant_lifecycle.catalog.operations import Operations
from tenant_lifecycle.engine.definition import Definition
from tenant_lifecycle.engine.driver import Driver, Drove
from tenant_lifecycle.engine.steps import Done, Outcome, Step, StepContext, StepKind, Wait
from tenant_lifecycle.errors import ConfigError, IntegrityError, UnknownOperation
from tenant_lifecycle.evidence import notes
from tenant_lifecycle.evidence.entries import Happening, Opening
from tenant_lifecycle.evidence.keys import LocalSigner, Role
from tenant_lifecycle.evidence.merkle import consistency_holds, inclusion_holds, leaf_hash
from tenant_lifecycle.evidence.monitor import Fault
from tenant_lifecycle.model.operation import NewOperation, Operation, Outputs

ORIGIN = "tenant-lifecycle.example/audit"
HOSTILE = "acme'; DROP TABLE audit_entry; -- \n{*}?[\N{SNOWMAN}"


@pytest.fixture
def log(control: ControlDatabase) -> AuditLog:
    return AuditLog(control, ORIGIN, LocalSigner.generate(Role.LOG))


class TwoSteps(Definition):
    """One step that works and one that waits once."""

    name = "two@1"
    kind = "migrate"

    def __init__(self) -> None:
        self.waited = False

    def _work(self, ctx: StepContext) -> Outcome:
        return Done({"rows": 3})

    def _wait(self, ctx: StepContext) -> Outcome:
        if not self.waited:
            self.waited = True
            return Wait(until=ctx.now() + 0.01, why="for a moment")
        return Done({})

    def steps(self, operation: Operation, outputs: Outputs) -> list[Step]:
        return [
            Step("work", "works", StepKind.IDEMPOTENT, self._work),
            Step("wait", "waits", StepKind.WAIT, self._wait),
        ]


def driven(control: ControlDatabase, tenant: str = HOSTILE) -> Operation:
    operations = Operations(control)
    made = operations.create(NewOperation("migrate", TwoSteps.name, tenant, "anna@desk", reason="move Bob"))
    driver = Driver(SqlJournal(control), [TwoSteps()])
    for _ in range(1_000):
        if driver.drive(made.id) is Drove.ENDED:
            break
        time.sleep(0.005)
    return operations.get(made.id)


def test_every_state_an_operation_was_in_is_in_the_log(control: ControlDatabase, log: AuditLog) -> None:
    operation = driven(control)
    entries = [stored.entry for stored in log.entries(operation_id=operation.id)]
    states = [entry.after for entry in entries]
    assert states[0] == "queued"
    assert {"queued", "running", "waiting", "succeeded"} <= set(states)
    assert states[-1] == "succeeded"
    assert [entry.before for entry in entries] == ["", *states[:-1]], "no change between two entries"
    assert [entry.stream for entry in entries] == list(range(1, len(entries) + 1))
    assert {"created", "lease", "step_started", "step_done", "succeeded"} <= {entry.type for entry in entries}
    assert not review(log).alarms


def test_every_event_of_the_history_has_its_entry(control: ControlDatabase, log: AuditLog) -> None:
    operation = driven(control)
    told = [event.kind for event in Operations(control).events(operation.id)]
    kept = [stored.entry.type for stored in log.entries(operation_id=operation.id)]
    assert [kind for kind in kept if kind != audit.STATE] == told


def test_an_entry_exists_if_and_only_if_the_change_does(control: ControlDatabase, log: AuditLog) -> None:
    operations = Operations(control)
    before = log.head().size
    with pytest.raises(RuntimeError), control.writing() as conn:
        audit.append(control, conn, Happening("never", "anna"))
        raise RuntimeError("killed before the commit")
    assert log.head().size == before
    made = operations.create(NewOperation("migrate", "two@1", "acme", "anna"))
    operations.pause(made.id, actor="anna")
    assert [stored.entry.type for stored in log.entries()] == ["created", "pause_requested"]
    assert not review(log).alarms, "what was rolled back left nothing in the tree either"


def test_leaves_name_nobody(control: ControlDatabase, log: AuditLog) -> None:
    operation = driven(control)
    with control.reading() as conn:
        leaves = "\n".join(conn.execute(sa.text("SELECT leaf FROM audit_entry")).scalars())
    for name in ("anna", "desk", "Bob", "acme", "DROP", "\N{SNOWMAN}"):
        assert name not in leaves
    first = log.entries(operation_id=operation.id)[0]
    assert first.opening is not None
    assert first.opening.tenant == HOSTILE
    assert "move Bob" not in str(first.opening.payload), "people's own words are committed to, not kept"
    assert set(first.opening.payload) == {"kind", "reason_commitment"}


def test_equal_names_do_not_look_equal(log: AuditLog) -> None:
    for _ in range(2):
        log.append(Happening("asked", "anna", "acme"))
    one, other = (stored.entry for stored in log.entries())
    assert (one.actor, one.tenant, one.payload) != (other.actor, other.tenant, other.payload)
    assert one.actor != other.actor and one.tenant != other.tenant


def test_an_opening_opens_its_own_entry_only(log: AuditLog) -> None:
    log.append(Happening("asked", "anna", "acme", detail={"count": 1}))
    log.append(Happening("asked", "anna", "acme", detail={"count": 1}))
    one, other = log.entries()
    assert one.opening is not None and other.opening is not None
    assert one.opening.opens(one.entry)
    assert not other.opening.opens(one.entry)
    assert not Opening(one.opening.salt, "berta", "acme", {"count": 1}).opens(one.entry)
    assert not Opening(one.opening.salt, "anna", "acme", {"count": 2}).opens(one.entry)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit_entry SET leaf = 'x'",
        "UPDATE audit_entry SET nodes = salt",
        "UPDATE audit_entry SET operation_id = 'op_other'",
        "UPDATE audit_entry SET salt = NULL",
        "UPDATE audit_entry SET seq = seq + 10",
        "DELETE FROM audit_entry",
        "DELETE FROM audit_checkpoint",
        "UPDATE audit_checkpoint SET note = ''",
        "UPDATE audit_head SET size = 0",
        "DELETE FROM audit_head",
        "TRUNCATE audit_entry",
    ],
)
def test_the_database_refuses_to_change_the_log(
    control: ControlDatabase, log: AuditLog, statement: str
) -> None:
    if control.sqlite and statement.startswith("TRUNCATE"):
        pytest.skip("SQLite has no TRUNCATE")
    log.append(Happening("asked", "anna"))
    log.checkpoint()
    with pytest.raises(sa.exc.DBAPIError, match="append only"), control.writing() as conn:
        conn.execute(sa.text(statement))
    assert not review(log).alarms


def test_writers_on_many_connections_take_turns(control: ControlDatabase, log: AuditLog) -> None:
    others = [AuditLog(control, ORIGIN) for _ in range(4)]

    def write(one: AuditLog) -> None:
        for number in range(15):
            one.append(Happening("asked", "anna", detail={"count": number}))

    threads = [threading.Thread(target=write, args=(one,)) for one in others]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = review(log)
    assert (found.size, found.alarms) == (60, ())


def test_another_process_goes_on_where_this_one_ended(
    control: ControlDatabase, log: AuditLog, new_control: Callable[[str], ControlDatabase]
) -> None:
    """The end that a process remembers is used only while the database names the same leaf."""
    for _ in range(5):
        log.append(Happening("asked", "anna"))
    remembered = control.audit_end
    log.append(Happening("asked", "by another process"))
    control.audit_end = remembered
    log.append(Happening("asked", "anna"))
    assert not review(log).alarms


def test_proofs_lead_to_a_signed_head(log: AuditLog) -> None:
    for number in range(11):
        log.append(Happening("asked", "anna", detail={"count": number}))
    old = log.checkpoint()
    log.append(Happening("asked", "anna"))
    new = log.checkpoint()
    assert log.key is not None
    heads = [notes.read_head(one.note, ORIGIN, log.key) for one in (old, new)]
    assert [head.size for head in heads] == [11, 12]
    proof = log.consistency(11, 12)
    assert consistency_holds(11, 12, heads[0].root, heads[1].root, proof)
    shown = notes.TlogProof.parse(log.proof(4).text())
    head = notes.read_head(shown.checkpoint, ORIGIN, log.key)
    assert inclusion_holds(4, head.size, leaf_hash(shown.leaf), shown.path, head.root)
    assert log.checkpoint() == new, "a head is signed once"


def test_redaction_keeps_every_proof_and_says_that_it_was_done(
    control: ControlDatabase, log: AuditLog
) -> None:
    operation = driven(control)
    log.append(Happening("asked", "anna", "other"))
    kept = log.checkpoint()
    proof = log.proof(2)
    count = log.redact(operation.id, actor="dpo", reason="claims have lapsed")
    assert count == len(log.entries(operation_id=operation.id))
    assert all(stored.opening is None for stored in log.entries(operation_id=operation.id))
    assert log.proof(2).path == proof.path
    last = log.newest(1)[0]
    assert last.entry.type == "redacted" and last.opening is not None
    assert last.opening.payload["entries"] == count
    found = review(log, [kept.note])
    assert (found.redacted, found.alarms) == (count, ())
    with pytest.raises(UnknownOperation, match="nothing open"):
        log.redact(operation.id, actor="dpo", reason="again")


def test_the_monitor_sees_an_entry_changed_behind_the_triggers(
    control: ControlDatabase, log: AuditLog
) -> None:
    for number in range(6):
        log.append(Happening("asked", "anna", detail={"count": number}))
    log.checkpoint()
    stored = log.entries()[3]
    forged = stored.entry.leaf().decode().replace('"type":"asked"', '"type":"other"')
    _without_triggers(control, "UPDATE audit_entry SET leaf = :leaf WHERE seq = 3", leaf=forged)
    faults = {(alarm.fault, alarm.at) for alarm in review(log).alarms}
    assert {(Fault.CHANGED, 3), (Fault.CHANGED, 4), (Fault.FORK, 6)} <= faults


def test_the_monitor_sees_a_gap_and_a_cut_off_end(control: ControlDatabase, log: AuditLog) -> None:
    for _ in range(6):
        log.append(Happening("asked", "anna"))
    outside = log.checkpoint().note
    _without_triggers(control, "DELETE FROM audit_entry WHERE seq = 2")
    assert Fault.GAP in {alarm.fault for alarm in review(log).alarms}
    _without_triggers(control, "DELETE FROM audit_entry WHERE seq >= 2")
    _without_triggers(control, "DELETE FROM audit_checkpoint")
    assert review(log).alarms == (), "from inside alone, a cut off end cannot be seen"
    assert [alarm.fault for alarm in review(log, [outside]).alarms] == [Fault.TRUNCATED]


def test_a_history_written_anew_is_a_fork_to_whoever_kept_a_head(
    log: AuditLog, new_control: Callable[[str], ControlDatabase]
) -> None:
    """Whoever has database and key can write another history; not one that fits a head kept elsewhere."""
    for _ in range(4):
        log.append(Happening("asked", "anna"))
    outside = log.checkpoint().note
    other = AuditLog(new_control("sqlite"), ORIGIN, log._signer)
    for _ in range(7):
        other.append(Happening("asked", "anna"))
    other.checkpoint()
    assert review(other).alarms == ()
    assert [alarm.fault for alarm in review(other, [outside]).alarms] == [Fault.FORK]


def test_a_head_signed_by_another_key_is_no_head(log: AuditLog) -> None:
    log.append(Happening("asked", "anna"))
    head = log.head()
    stranger = notes.sign_head(head, LocalSigner.generate(Role.LOG))
    with pytest.raises(IntegrityError, match="not signed"):
        log.review([stranger])
    assert log.key is not None
    good = notes.sign_head(head, log._signer)  # type: ignore[arg-type]
    for changed in (good.replace("\n1\n", "\n2\n", 1), good.replace(ORIGIN, "other.example/log"), good[:-3]):
        with pytest.raises(IntegrityError):
            notes.read_head(changed, ORIGIN, log.key)


def test_without_a_key_nothing_is_signed_and_that_is_said(control: ControlDatabase) -> None:
    log = AuditLog(control, ORIGIN)
    log.append(Happening("asked", "anna"))
    with pytest.raises(ConfigError, match="no key signs") as refused:
        log.checkpoint()
    assert "evidence" in refused.value.next_step


def review(log: AuditLog, outside: list[str] | None = None) -> Any:
    return log.review(outside or [])


def _without_triggers(control: ControlDatabase, statement: str, **values: Any) -> None:
    """What somebody with every right on the database can do."""
    with control.writing() as conn:
        if control.sqlite:
            names = conn.execute(sa.text("SELECT name FROM sqlite_master WHERE type = 'trigger'")).scalars()
            for name in list(names):
                conn.exec_driver_sql(f'DROP TRIGGER "{name}"')
        else:
            conn.execute(sa.text("SET LOCAL session_replication_role = replica"))
        conn.execute(sa.text(statement), values)
