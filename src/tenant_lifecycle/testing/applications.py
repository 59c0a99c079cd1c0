"""Tiny applications that say their environment's name: what stands behind a router in its tests.

Many connections may come at once; every answer is counted. ``/fail`` answers 500, ``/slow`` after 50 ms.
"""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Iterable


class NamedApplications:
    """One HTTP server per environment, in a thread of their own; a context manager."""

    def __init__(self, environments: Iterable[str]) -> None:
        #: Where each listens, by environment; known once started.
        self.places: dict[str, tuple[str, int]] = {}
        #: Answers given, by environment.
        self.answered: Counter[str] = Counter()
        self._environments = list(environments)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="applications", daemon=True)
        self._servers: dict[str, asyncio.Server] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def __enter__(self) -> NamedApplications:
        self._thread.start()
        for name in self._environments:
            asyncio.run_coroutine_threadsafe(self._listen(name), self._loop).result(30)
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(30)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(30)
        self._loop.close()

    def refuse(self, environment: str) -> None:
        """Listen no more and drop connections, as an application that went away."""
        asyncio.run_coroutine_threadsafe(self._refuse(environment), self._loop).result(30)

    def accept(self, environment: str) -> None:
        """Listen again, in the same place."""
        asyncio.run_coroutine_threadsafe(self._listen(environment), self._loop).result(30)

    async def _listen(self, name: str) -> None:
        port = self.places[name][1] if name in self.places else 0

        def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = self._loop.create_task(self._serve(name, reader, writer), name=name)
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

        server = await asyncio.start_server(connected, "127.0.0.1", port, backlog=1024)
        self._servers[name] = server
        self.places[name] = ("127.0.0.1", int(server.sockets[0].getsockname()[1]))

    async def _refuse(self, name: str | None) -> None:
        for known, server in self._servers.items():
            if name in (None, known):
                server.close()
        tasks = [task for task in self._tasks if name in (None, task.get_name())]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _end(self) -> None:
        await self._refuse(None)

    async def _serve(self, name: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).split(b"\r\n")
                lengths = [line for line in head if line.lower().startswith(b"content-length:")]
                if lengths:
                    await reader.readexactly(int(lengths[0].partition(b":")[2]))
                path = head[0].split(b" ")[1]
                if path == b"/slow":
                    await asyncio.sleep(0.05)
                status = b"500 Failed" if path == b"/fail" else b"200 OK"
                body = name.encode()
                self.answered[name] += 1
                # One write: an answer in two pieces waits for the other side's acknowledgement.
                writer.write(b"HTTP/1.1 %s\r\ncontent-length: %d\r\n\r\n%s" % (status, len(body), body))
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()
