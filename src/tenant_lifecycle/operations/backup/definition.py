"""The steps of a backup: take - read back. Killed anywhere it leaves garbage at most, which the sweeper knows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from tenant_lifecycle.engine.definition import Definition
from tenant_lifecycle.engine.retry import Retry
from tenant_lifecycle.engine.steps import Done, OnError, Outcome, Step, StepContext, StepKind
from tenant_lifecycle.errors import UnknownBackup
from tenant_lifecycle.model.backup.manifest import Manifest
from tenant_lifecycle.model.operation import Operation, Outputs
from tenant_lifecycle.operations.backup.session import BackupSession, OpenBackup
from tenant_lifecycle.operations.backup.taking import Order, read_back, take_full

#: Label of a base: the operation that took it. A repetition after a crash finds its own base by it.
OPERATION = "operation"
PATIENT = Retry(attempts=20, first_s=0.2, factor=1.6, ceiling_s=15.0)


class Backup(Definition):
    """One base of one tenant in ``spec['environment']``."""

    name = "backup@1"
    kind = "backup"

    def __init__(self, open_session: OpenBackup) -> None:
        self._open = open_session

    def session(self, operation: Operation, token: int) -> AbstractContextManager[BackupSession]:
        return opened(self._open, operation, token)

    def steps(self, operation: Operation, outputs: Outputs) -> Sequence[Step]:  # noqa: ARG002
        return [
            Step("take", "read every store into the repository", StepKind.IDEMPOTENT, take, retry=PATIENT),
            Step(
                "read-back", "decrypt it and compare", StepKind.IDEMPOTENT, verify, retry=PATIENT,
                on_error=OnError.FAIL,
            ),
        ]  # fmt: skip


@contextmanager
def opened(open_session: OpenBackup, operation: Operation, token: int) -> Iterator[BackupSession]:
    """A session for as long as a driver drives."""
    session = open_session(operation, token)
    try:
        yield session
    finally:
        session.close()


def take(ctx: StepContext) -> Outcome:
    """Step: the base is committed."""
    spec = ctx.operation.spec
    session: BackupSession = ctx.session
    manifest = base_of(ctx, session, ctx.operation.id, spec.get("labels") or {}, spec.get("keep_s"))
    return Done(base_document(manifest))


def base_of(
    ctx: StepContext,
    session: BackupSession,
    name: str,
    labels: Mapping[str, str],
    keep_s: float | None = None,
) -> Manifest:
    """The base of that name: the one that an attempt before this committed, or a new one."""
    if ctx.attempt > 1:
        for manifest in session.repository.manifests():
            if manifest.labels.get(OPERATION) == name:
                return manifest
    expires_us = None if keep_s is None else int((ctx.now() + float(keep_s)) * 1e6)
    order = Order(session.environment, {**labels, OPERATION: name}, expires_us, session.tier)
    return take_full(session.repository, session.backed, order, ctx.check, ctx.progress)


def verify(ctx: StepContext) -> Outcome:
    """Step: what lies in the repository is what was read."""
    session: BackupSession = ctx.session
    manifest = manifest_of(session, ctx.outputs["take"]["base"])
    return Done({"items": read_back(session.repository, manifest, ctx.check)})


def manifest_of(session: BackupSession, base: str) -> Manifest:
    """The manifest of that id.

    Raises:
        UnknownBackup: there is none.
    """
    for manifest in session.repository.manifests():
        if manifest.id == base:
            return manifest
    raise UnknownBackup(f"no base {base} of tenant {session.tenant!r}", next_step="tenantctl backup list")


def base_document(manifest: Manifest) -> dict[str, Any]:
    """Ids, counts and times of a base."""
    stored = [one for part in manifest.stores.values() for one in part.sets.values()]
    return {
        "base": manifest.id,
        "kind": manifest.kind.value,
        "at_us": max(part.at_us for part in manifest.stores.values()),
        "items": sum(one.fingerprint.items for one in stored),
        "raw_bytes": sum(one.raw_bytes for one in stored),
        "stored_bytes": sum(one.stored_bytes for one in stored),
        "stores": {
            name: sum(one.fingerprint.items for one in part.sets.values())
            for name, part in manifest.stores.items()
        },
    }
