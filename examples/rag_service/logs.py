"""One JSON line per request: what, whose, how it ended, how long it took; nothing that a person wrote."""

from __future__ import annotations

import logging
import sys
import time

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send


def configure() -> None:
    """Lines go to stdout, flushed one by one."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(ensure_ascii=False),
        ],
        logger_factory=structlog.WriteLoggerFactory(sys.stdout),
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)


class RequestLog:
    """Writes the line when the answer is out, and tells the client which environment gave it."""

    def __init__(self, app: ASGIApp, environment: str) -> None:
        self._app = app
        self._environment = environment.encode()
        self._log = structlog.get_logger().bind(environment=environment)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, status = time.perf_counter(), 500

        async def note(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), (b"x-served-by", self._environment)]
            await send(message)

        try:
            await self._app(scope, receive, note)
        finally:
            route = getattr(scope.get("route"), "path", "-")
            self._log.info(
                "request", method=scope["method"], route=route, status=status,
                tenant=scope.get("state", {}).get("tenant"), ms=round((time.perf_counter() - began) * 1000, 1),
            )  # fmt: skip
