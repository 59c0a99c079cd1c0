"""``moto_server``, without two habits that matter in a process that lives for minutes and has many versions.

Every listing of versions copied the content of every object of the bucket, and every object that ever was made
was kept for a reset that nobody here asks for: minutes of load took gigabytes. What a listing gets is a view of
the object instead. A listing of versions after a key left out what comes first after it, and does not any more.
And it can be told to fail (see `object_faults`); nothing else about the emulator is changed.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from tenant_lifecycle.sandbox.object_faults import Faulty


def lighten() -> None:
    """Replace both habits, in this process."""
    from moto.core.common_models import BaseModel
    from moto.s3.models import FakeKey

    def new(cls: type, *_: Any, **__: Any) -> Any:
        return object.__new__(cls)

    class View(FakeKey):
        """An object as a listing shows it; its content belongs to the original."""

        # The emulator keeps a list of its classes by the module they are from.
        __module__ = FakeKey.__module__

        def __del__(self) -> None:
            """Nothing to give back."""

    def view(self: Any, _memo: object) -> Any:
        seen = object.__new__(View)
        seen.__dict__.update(self.__dict__)
        return seen

    BaseModel.__new__ = new  # type: ignore[method-assign]
    FakeKey.__deepcopy__ = view  # type: ignore[attr-defined]


def list_after() -> None:
    """Have a listing of versions that begins after a key begin with the next one, as S3's does, in this process."""
    from moto.s3.models import S3Backend

    listed = S3Backend.list_object_versions

    def list_object_versions(self: Any, bucket_name: str, *rest: Any, **how: Any) -> Any:
        after = how.get("key_marker")
        if after and not how.get("version_id_marker"):
            stacks = self.get_bucket(bucket_name).keys.iterlists()
            before = max(
                (one for name, stack in stacks if name <= after for one in stack), key=_order, default=None
            )
            how["key_marker"] = before.name if before is not None else None
            how["version_id_marker"] = before.version_id if before is not None else None
        return listed(self, bucket_name, *rest, **how)

    S3Backend.list_object_versions = list_object_versions  # type: ignore[method-assign]


def _order(version: Any) -> tuple[str, float]:
    """Where a version stands in a listing: by name, the oldest last."""
    return version.name, -version.last_modified.timestamp()


def main() -> None:
    """Run the server with this process's arguments."""
    lighten()
    list_after()
    server: Any = import_module("moto.server")
    run = server.run_simple
    server.run_simple = lambda host, port, app, **how: run(host, port, Faulty(app), **how)
    server.main()


if __name__ == "__main__":
    main()
