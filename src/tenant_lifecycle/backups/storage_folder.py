"""A repository in a folder of this machine, or of a file server that has hard links.

An object is written under a name of its own, synced, and then linked to its real name, which fails if there is one:
so it is there whole or not at all, and never twice.
"""

from __future__ import annotations

import errno
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tenant_lifecycle.backups.naming import checked_name
from tenant_lifecycle.errors import RepositoryDamaged, RepositoryRejected, RepositoryUnavailable

_UNFINISHED = ".unfinished"
#: What the disk or server says for a while only.
_PASSING = frozenset({errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.EINTR, errno.EAGAIN, errno.EMFILE})
_NEXT_STEPS = {
    errno.ENOSPC: "make room, then do it again; nothing that was stored is lost",
    errno.EDQUOT: "raise the quota, then do it again; nothing that was stored is lost",
    errno.EFBIG: "raise the limit on the size of files, then do it again",
    errno.EACCES: "give this user the right to write there",
    errno.EROFS: "mount it for writing",
    errno.EPERM: "use a file system that has hard links, and see the folder's rights",
}


class FolderStorage:
    """Objects as files below one folder, which has to be there."""

    def __init__(self, root: Path) -> None:
        """
        Raises:
            RepositoryRejected: there is no such folder.
        """
        self.where = str(root)
        self._root = root
        self._identity = self._seen()

    @classmethod
    def create(cls, root: Path) -> FolderStorage:
        """Make the folder, for this user only, if it is not there."""
        try:
            root.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as exc:
            raise RepositoryRejected(
                f"{root}: cannot be made: {exc.strerror}", where=str(root), next_step="name another folder"
            ) from exc
        return cls(root)

    def put(self, name: str, data: bytes) -> bool:
        """Create it durably; False if that name is taken."""
        path = self._root / checked_name(name, self.where)
        self._still_there()
        with self._translating(name):
            if os.path.lexists(path):
                return False
            self._make_folders(path.parent)
            unfinished = self._root / _UNFINISHED / uuid.uuid4().hex
            try:
                self._write(unfinished, data)
                return self._link(unfinished, path)
            finally:
                unfinished.unlink(missing_ok=True)

    def get(self, name: str, offset: int = 0, length: int | None = None) -> bytes:
        """Its bytes, or as many of them as were asked for; never fewer."""
        path = self._root / checked_name(name, self.where)
        try:
            with self._translating(name), path.open("rb") as file:
                file.seek(offset)
                found = file.read() if length is None else file.read(length)
        except FileNotFoundError as exc:
            self._still_there()
            raise RepositoryDamaged(f"{name}: is not in the repository {self.where}") from exc
        if length is not None and len(found) < length:
            raise RepositoryDamaged(f"{name}: ends at byte {offset + len(found)}, there should be more")
        return found

    def names(self, prefix: str, after: str = "") -> Iterator[tuple[str, int, float]]:
        """Name, size and modification time, in order of names."""
        self._still_there()
        yield from self._below("", prefix, after)

    def delete(self, name: str) -> None:
        """Remove it; safe to repeat."""
        path = self._root / checked_name(name, self.where)
        self._still_there()
        with self._translating(name), suppress(FileNotFoundError):
            path.unlink()
            _sync_folder(path.parent)

    def _below(self, folder: str, prefix: str, after: str) -> Iterator[tuple[str, int, float]]:
        try:
            with self._translating(folder), os.scandir(self._root / folder) as found:
                # A folder sorts as its name with the slash that follows: then whole names are in order.
                entries = sorted(
                    (folder + entry.name + ("/" if entry.is_dir(follow_symlinks=False) else ""), entry)
                    for entry in found
                    if not entry.name.startswith(".")
                )
        except FileNotFoundError:
            return
        for name, entry in entries:
            if name.endswith("/"):
                if _may_hold(name, prefix) and (name > after or after.startswith(name)):
                    yield from self._below(name, prefix, after)
            elif name.startswith(prefix) and name > after and entry.is_file(follow_symlinks=False):
                with suppress(FileNotFoundError):
                    facts = entry.stat(follow_symlinks=False)
                    yield name, facts.st_size, facts.st_mtime

    def _write(self, path: Path, data: bytes) -> None:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())

    def _link(self, unfinished: Path, path: Path) -> bool:
        try:
            os.link(unfinished, path)
        except FileExistsError:
            return False
        _sync_folder(path.parent)
        return True

    def _make_folders(self, folder: Path) -> None:
        (self._root / _UNFINISHED).mkdir(mode=0o700, exist_ok=True)
        missing = [one for one in (folder, *folder.parents) if one.is_relative_to(self._root)]
        for one in reversed(missing):
            if not one.is_dir():
                one.mkdir(mode=0o700, exist_ok=True)
                _sync_folder(one.parent)

    def _seen(self) -> tuple[int, int]:
        try:
            facts = self._root.stat()
        except OSError as exc:
            raise self._vanished() from exc
        if not self._root.is_dir():
            raise self._vanished()
        return facts.st_dev, facts.st_ino

    def _still_there(self) -> None:
        # An unmounted disk leaves an empty folder of the same name, which is another one.
        if self._seen() != self._identity:
            raise self._vanished()

    def _vanished(self) -> RepositoryRejected:
        return RepositoryRejected(
            f"{self.where}: the repository's folder is not there, or is another one than it was",
            where=self.where, next_step="mount it again, or make it, or correct its path",
        )  # fmt: skip

    @contextmanager
    def _translating(self, name: str) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError:
            raise
        except OSError as exc:
            message = f"{self.where}: {name}: {exc.strerror}"
            if exc.errno in _PASSING:
                raise RepositoryUnavailable(message, where=self.where, next_step="try again") from exc
            step = _NEXT_STEPS.get(exc.errno or 0, "see that folder's file system")
            raise RepositoryRejected(message, where=self.where, next_step=step) from exc


def _may_hold(folder: str, prefix: str) -> bool:
    return folder.startswith(prefix) or prefix.startswith(folder)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
