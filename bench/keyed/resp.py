"""Redis' own protocol over a bare socket, one command at a time: what ``redis-cli`` in a shell loop does at best."""

from __future__ import annotations

import socket


class Resp:
    """One connection."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._answers = self._socket.makefile("rb")

    def ask(self, *words: bytes) -> bytes | int | None:
        """One command and its answer: a string, a number, or nothing.

        Raises:
            RuntimeError: the server refused.
        """
        parts = [b"*%d\r\n" % len(words), *(b"$%d\r\n%s\r\n" % (len(word), word) for word in words)]
        self._socket.sendall(b"".join(parts))
        head = self._answers.readline()
        kind, rest = head[:1], head[1:-2]
        if kind == b"-":
            raise RuntimeError(rest.decode())
        if kind == b"$" and rest != b"-1":
            return self._answers.read(int(rest) + 2)[:-2]
        if kind == b":":
            return int(rest)
        return rest if kind == b"+" else None

    def close(self) -> None:
        self._answers.close()
        self._socket.close()
