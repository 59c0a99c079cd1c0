"""HAProxy's runtime interface: commands over its admin socket."""

from __future__ import annotations

import re
import socket
from dataclasses import dataclass

from tenant_lifecycle.errors import StoreRejected, StoreUnavailable

_ENTRY = re.compile(r"0x[0-9a-f]+ (\S+) (.*)")
_COUNTED = re.compile(r"key=(\S+) .*?http_req_cnt=(\d+).*? gpc0=(\d+)")


@dataclass(frozen=True, slots=True)
class Runtime:
    """The socket of one HAProxy; a connection per command, so any thread may speak."""

    #: A path, or ``host:port``.
    address: str
    router: str
    timeout_s: float = 2.0

    def map_entries(self, file: str) -> dict[str, str]:
        """Key -> value of a map, as the running process has it."""
        found: dict[str, str] = {}
        for line in self._tell(f"show map {file}").splitlines():
            if match := _ENTRY.match(line):
                found.setdefault(match[1], match[2].strip())
        return found

    def map_entry(self, file: str, key: str) -> str | None:
        """One value of a map; None if the running process has none."""
        match = re.search(r'found=yes.* value="([^"]*)"', self._tell(f"get map {file} {key}"))
        return match[1] if match else None

    def set_entry(self, file: str, key: str, value: str | None) -> None:
        """Have one entry with this value, or none; nothing else changes.

        Raises:
            StoreRejected: HAProxy refused.
        """
        if value is None:
            self._tell(f"del map {file} {key}", but="not found")
        elif "not found" in self._tell(f"set map {file} {key} {value}", but="not found"):
            self._tell(f"add map {file} {key} {value}")

    def counted(self, table: str, keys: list[str]) -> dict[str, tuple[int, int]]:
        """Requests and errors by key of a stick table; keys that were never counted are left out."""
        command = "; ".join(f"show table {table} key {key}" for key in keys)
        return {match[1]: (int(match[2]), int(match[3])) for match in _COUNTED.finditer(self._tell(command))}

    def maps(self) -> str:
        """What ``show map`` lists."""
        return self._tell("show map")

    def _tell(self, command: str, *, but: str | None = None) -> str:
        """The answer. ``but`` is what an answer may say although it is no success.

        Raises:
            StoreUnavailable: nobody answers.
            StoreRejected: HAProxy does not know the map or table, or we may not.
        """
        try:
            answer = self._exchange(command)
        except OSError as exc:
            raise StoreUnavailable(
                f"router {self.router}: no answer from HAProxy's socket: {exc}",
                store=self.router,
                next_step="start it; what is written down is in effect then",
            ) from exc
        refused = re.search(r"Unknown|No such|Permission denied|Require|not found|can't|invalid", answer)
        if refused and not (but is not None and but in answer) and "found=no" not in answer:
            said = " ".join(answer.split())[:200]
            raise StoreRejected(
                f"router {self.router}: HAProxy refused {' '.join(command.split()[:2])!r}: {said}",
                store=self.router,
                next_step="the socket needs level admin, and the frontend the lines of docs/traffic.md",
            )
        return answer

    def _exchange(self, command: str) -> str:
        with self._connect() as connection:
            connection.sendall(f"{command}\n".encode())
            parts = []
            while part := connection.recv(65536):
                parts.append(part)
        return b"".join(parts).decode(errors="replace")

    def _connect(self) -> socket.socket:
        host, colon, port = self.address.rpartition(":")
        if colon and port.isdigit() and "/" not in self.address:
            return socket.create_connection((host, int(port)), timeout=self.timeout_s)
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(self.timeout_s)
        try:
            connection.connect(self.address)
        except BaseException:
            connection.close()
            raise
        return connection
