"""A TCP proxy on the loopback interface that does to connections what networks do.

It stands between a client and a server; faults are switched on and off while connections are open::

    with FaultProxy("127.0.0.1", server.port) as proxy:
        connect(port=proxy.port)
        proxy.cut()
"""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from types import TracebackType
from typing import TypeVar

T = TypeVar("T")
_CHUNK = 64 * 1024


class Way(StrEnum):
    """A direction of bytes."""

    TO_SERVER = "to server"
    TO_CLIENT = "to client"


BOTH = (Way.TO_SERVER, Way.TO_CLIENT)


@dataclass
class _Fault:
    """What happens to the bytes of one direction."""

    delay_s: float = 0.0
    bytes_per_s: float | None = None
    stalled: bool = False
    #: Bytes still let through before the connection is cut; None: no limit.
    left: int | None = None


class _Pair:
    """One client's connection and the one to the server that belongs to it."""

    def __init__(self, client: asyncio.StreamWriter, server: asyncio.StreamWriter) -> None:
        self._ends = (client, server)

    def cut(self) -> None:
        """Reset both ends: what was under way is gone, as when a cable is pulled and a firewall answers."""
        for end in self._ends:
            raw = end.get_extra_info("socket")
            if raw is not None and raw.fileno() >= 0:
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            end.transport.abort()

    def close(self) -> None:
        for end in self._ends:
            end.close()


class FaultProxy:
    """Forwards to one server; usable from any thread between `start` and `stop`."""

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._faults = {way: _Fault() for way in Way}
        self._pairs: set[_Pair] = set()
        self._loop: asyncio.AbstractEventLoop
        self._changed = asyncio.Event()
        self._listener: asyncio.Server | None = None
        #: Keeps the port while connections are refused.
        self._holder: socket.socket | None = None
        self._thread: threading.Thread | None = None
        self.port = 0
        #: Bytes forwarded so far, by direction.
        self.forwarded = dict.fromkeys(Way, 0)

    def start(self) -> None:
        """Listen on a free port, from then on in `port`."""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="fault proxy", daemon=True)
        self._thread.start()
        self._await(self._listen())

    def stop(self) -> None:
        """Cut what is open and end; safe to repeat."""
        thread, self._thread = self._thread, None
        if thread is None:
            return
        self.cut()
        self._await(self._shut())
        self._loop.call_soon_threadsafe(self._loop.stop)
        thread.join()
        self._loop.close()

    def cut(self) -> int:
        """Reset every open connection; new ones are welcome. Return how many there were."""
        return self._call(self._cut_all)

    def refuse(self) -> None:
        """Reset every open connection and refuse new ones until `heal`."""
        self._await(self._close_door())
        self.cut()

    def delay(self, seconds: float, *ways: Way) -> None:
        """Deliver every byte so much later, in these directions (both if none is given)."""
        self._set(ways, lambda fault: setattr(fault, "delay_s", seconds))

    def throttle(self, bytes_per_s: float, *ways: Way) -> None:
        """Let through so many bytes a second on each connection."""
        self._set(ways, lambda fault: setattr(fault, "bytes_per_s", bytes_per_s))

    def black_hole(self, *ways: Way) -> None:
        """Deliver nothing until `heal`, and tell nobody: connections stay open, new ones are accepted.

        In one direction only it makes half-open connections: a request arrives, its answer never does.
        """
        self._set(ways, lambda fault: setattr(fault, "stalled", True))

    def cut_after(self, count: int, *ways: Way) -> None:
        """Let ``count`` more bytes pass in these directions, over all connections, then cut the one at fault."""
        self._set(ways, lambda fault: setattr(fault, "left", count))

    def heal(self) -> None:
        """No faults any more; what a black hole held back is delivered."""
        self._call(self._forget_faults)
        if self._holder is not None:
            self._await(self._open_door())

    @property
    def connections(self) -> int:
        """How many are open."""
        return self._call(lambda: len(self._pairs))

    def __enter__(self) -> FaultProxy:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    # -- in the loop's thread -------------------------------------------------------------------

    async def _listen(self) -> None:
        self._listener = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._listener.sockets[0].getsockname()[1]

    async def _close_door(self) -> None:
        if self._listener is not None:
            self._listener.close()
            self._listener = None
            # Bound and not listening: the system itself refuses, and nobody else gets the port.
            self._holder = socket.socket()
            self._holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._holder.bind(("127.0.0.1", self.port))

    async def _open_door(self) -> None:
        if self._holder is not None:
            self._holder.close()
            self._holder = None
            await self._listen()

    async def _shut(self) -> None:
        if self._listener is not None:
            self._listener.close()
        if self._holder is not None:
            self._holder.close()
        tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _serve(self, client_in: asyncio.StreamReader, client_out: asyncio.StreamWriter) -> None:
        try:
            server_in, server_out = await asyncio.open_connection(*self._target)
        except OSError:
            client_out.transport.abort()
            return
        pair = _Pair(client_out, server_out)
        self._pairs.add(pair)
        try:
            await asyncio.gather(
                self._pump(pair, client_in, server_out, Way.TO_SERVER),
                self._pump(pair, server_in, client_out, Way.TO_CLIENT),
            )
        except (OSError, asyncio.CancelledError):
            pair.cut()
        finally:
            self._pairs.discard(pair)
            pair.close()

    async def _pump(
        self, pair: _Pair, source: asyncio.StreamReader, sink: asyncio.StreamWriter, way: Way
    ) -> None:
        """Read at once, deliver when it is due: a delay costs time, not throughput."""
        #: Chunks and when they are due; b"" when the sender said good-bye, None when it was reset.
        under_way: asyncio.Queue[tuple[float, bytes | None]] = asyncio.Queue(maxsize=64)

        async def receive() -> None:
            data: bytes | None = b"first"
            while data:
                try:
                    data = await source.read(_CHUNK)
                except OSError:
                    data = None
                await under_way.put((self._loop.time() + self._faults[way].delay_s, data))

        receiver = asyncio.create_task(receive())
        try:
            while True:
                due, data = await under_way.get()
                await asyncio.sleep(max(0.0, due - self._loop.time()))
                if data is None:
                    raise ConnectionResetError
                if not data:
                    await self._flowing(way)
                    with suppress(OSError):
                        sink.write_eof()
                    return
                await self._deliver(pair, sink, way, data)
        finally:
            receiver.cancel()
            with suppress(OSError, asyncio.CancelledError):
                await receiver

    async def _deliver(self, pair: _Pair, sink: asyncio.StreamWriter, way: Way, data: bytes) -> None:
        while data:
            await self._flowing(way)
            fault = self._faults[way]
            piece = data if fault.bytes_per_s is None else data[: max(1, int(fault.bytes_per_s / 20))]
            if fault.left is not None:
                piece = piece[: fault.left]
                fault.left -= len(piece)
            self.forwarded[way] += len(piece)
            sink.write(piece)
            await sink.drain()
            data = data[len(piece) :]
            if fault.left == 0:
                fault.left = None
                # Give what was let through the time to leave before the reset overtakes it.
                await asyncio.sleep(0.01)
                pair.cut()
                raise ConnectionAbortedError
            if fault.bytes_per_s is not None:
                await asyncio.sleep(len(piece) / fault.bytes_per_s)

    async def _flowing(self, way: Way) -> None:
        while self._faults[way].stalled:
            self._changed.clear()
            await self._changed.wait()

    def _forget_faults(self) -> None:
        self._faults = {way: _Fault() for way in Way}
        self._changed.set()

    def _cut_all(self) -> int:
        pairs, self._pairs = self._pairs, set()
        for pair in pairs:
            pair.cut()
        return len(pairs)

    # -- from other threads ---------------------------------------------------------------------

    def _set(self, ways: tuple[Way, ...], change: Callable[[_Fault], None]) -> None:
        def apply() -> None:
            for way in ways or BOTH:
                change(self._faults[way])
            self._changed.set()

        self._call(apply)

    def _call(self, function: Callable[[], T]) -> T:
        async def run() -> T:
            return function()

        return self._await(run())

    def _await(self, coroutine: Coroutine[None, None, T]) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(10)
