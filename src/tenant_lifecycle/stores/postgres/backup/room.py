"""How much memory of the server our statements may use: they sort and join a whole tenant, one at a time."""

from __future__ import annotations

from tenant_lifecycle.stores.postgres.connection import Connection

#: For a sort or a hash table, and for making a key. What does not fit goes to the server's disk.
_ROOM = {"work_mem": "64MB", "maintenance_work_mem": "128MB"}


def take_room(conn: Connection) -> None:
    """Until the transaction ends."""
    for name, value in _ROOM.items():
        conn.execute("SELECT set_config(%s, %s, true)", (name, value))
