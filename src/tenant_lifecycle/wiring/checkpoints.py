"""Signing the audit log's head now and then, beside whatever else a process does."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from tenant_lifecycle.catalog.audit_log import AuditLog
from tenant_lifecycle.errors import LifecycleError

logger = logging.getLogger(__name__)
#: At most so long has an entry no signed head, while a worker runs.
EVERY_S = 60.0


@contextmanager
def signing(log: AuditLog, every_s: float = EVERY_S) -> Iterator[None]:
    """Sign the head every ``every_s`` while the block runs, and once at its end; nothing if the log has no key.

    A failure is logged and tried again the next time: work on tenants does not wait for a signature.
    """
    if log.key is None:
        yield
        return
    stop = threading.Event()
    thread = threading.Thread(target=_sign, args=(log, every_s, stop), name="audit checkpoints", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _sign(log: AuditLog, every_s: float, stop: threading.Event) -> None:
    while True:
        last = stop.wait(every_s)
        try:
            log.checkpoint()
        except LifecycleError as error:
            logger.warning(
                "the audit log's head was not signed: %s", error, extra={"error": type(error).__name__}
            )
        if last:
            return
