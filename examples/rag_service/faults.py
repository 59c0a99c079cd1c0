"""A switch that makes the service slow or broken on purpose, for drills; off unless it was started for them."""

from __future__ import annotations

import asyncio
from random import Random

from pydantic import BaseModel, Field
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send


class Fault(BaseModel):
    """What to do to every request but the switch itself."""

    latency_ms: float = Field(0, ge=0, le=60_000)
    #: Share of requests that are answered with 500 before anything is done.
    error_share: float = Field(0, ge=0, le=1)


class Faults:
    """Between the server and the service."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._random = Random()
        self.fault = Fault()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] == "/_fault":
            if scope["type"] == "http":
                scope["faults"] = self
            await self._app(scope, receive, send)
            return
        if self.fault.latency_ms:
            await asyncio.sleep(self.fault.latency_ms / 1000)
        if self._random.random() < self.fault.error_share:
            await JSONResponse({"detail": "broken on purpose"}, 500)(scope, receive, send)
            return
        await self._app(scope, receive, send)
