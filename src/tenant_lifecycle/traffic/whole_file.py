"""A file that several processes rewrite as a whole: one at a time, and a reader sees the old or the new one."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tenant_lifecycle.errors import StoreRejected


@dataclass(frozen=True, slots=True)
class WholeFile:
    """One file of a router, with a lock beside it that counts between processes and between threads."""

    path: Path
    #: The router's name, for errors.
    router: str

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Nobody else writes during the block."""
        lock = self.path.with_name(f".{self.path.name}.lock")
        try:
            handle = os.open(lock, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o644)
        except OSError as exc:
            raise self._error("cannot be locked", exc) from exc
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)

    def read(self) -> str | None:
        """Its text; None if it is not there.

        Raises:
            StoreRejected: it cannot be read.
        """
        try:
            return self.path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError) as exc:
            raise self._error("cannot be read", exc) from exc

    def replace(self, text: str) -> None:
        """Put the text there, durably, by a rename; its mode stays. Only inside `alone`.

        Raises:
            StoreRejected: it cannot be written; what was there stays.
        """
        half = self.path.with_name(f".{self.path.name}.new")
        try:
            mode = self.path.stat().st_mode & 0o777 if self.path.exists() else 0o644
            with half.open("w", encoding="utf-8") as file:
                os.fchmod(file.fileno(), mode)
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            half.replace(self.path)
        except OSError as exc:
            raise self._error("cannot be written", exc) from exc

    def _error(self, what: str, exc: Exception) -> StoreRejected:
        return StoreRejected(
            f"router {self.router}: {self.path} {what}: {exc}",
            store=self.router,
            next_step="the folder must exist, and be open to the account this runs under",
        )
