"""The Lua programs of this store, each in a file of its own that says what it takes and returns."""

from __future__ import annotations

from importlib.resources import files

from tenant_lifecycle.stores.redis.connection import Script


def _read(name: str) -> Script:
    return Script(files(__package__).joinpath(name).read_text(encoding="utf-8"))


DUMPS = _read("dumps.lua")
DIGESTS = _read("digests.lua")
WRITE = _read("write.lua")
LIST = _read("list.lua")
CONTENTS = _read("contents.lua")

#: A key that takes more memory than this is never dumped as a whole: that would hold up the server's other
#: clients, and fill the memory of whoever moves it.
BIG_BYTES = 4 * 2**20
#: One call of a script reads about this much, so that nobody waits for it.
CALL_BYTES = 2**20
#: Keys named in one call of a script.
CALL_KEYS = 500
