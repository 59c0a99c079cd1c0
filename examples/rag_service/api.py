"""The service over HTTP. The header ``x-tenant-id`` says whose request it is, percent-encoded UTF-8.

Answers to requests that write carry ``x-read-token``; a client sends the last one it got with its next
requests, and then sees what it wrote, wherever it is answered.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar
from urllib.parse import unquote_to_bytes
from uuid import UUID

import anyio.to_thread
import psycopg
from fastapi import APIRouter, Depends, FastAPI, Header, Query
from fastapi import Request as HttpRequest
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, Field

from rag_service import activity, asking, documents, sessions
from rag_service.faults import Fault, Faults
from rag_service.logs import RequestLog
from rag_service.requests import Refused, Request
from rag_service.tenants import Session, Tenants
from tenant_lifecycle.errors import LifecycleError

T = TypeVar("T")
#: Requests that are worked on at the same time.
THREADS = 16
#: How long a write may wait for the tenant's writer.
DEADLINE_S = 8.0
_KEY = re.compile(r"(\d{1,10})-(\d{1,15})")
_NO_ID = UUID(int=0)


class Text(BaseModel):
    """A document that is put."""

    title: str = Field(min_length=1, max_length=500)
    text: str = Field(min_length=1, max_length=500_000)


class Question(BaseModel):
    """What is asked, and in which conversation."""

    question: str = Field(min_length=1, max_length=5_000)
    conversation: UUID


class Take(BaseModel):
    """Who takes how many events."""

    consumer: str = Field(min_length=1, max_length=100)
    count: int = Field(10, ge=1, le=1000)


@dataclass(frozen=True, slots=True)
class Caller:
    """One request: whose it is, what it may repeat, what it must see."""

    tenants: Tenants
    request: Request
    token: str | None
    response: Response

    def write(self, block: Callable[[Session], T]) -> T:
        """Run a block where the tenant's writer is."""
        value, token = self.tenants.write(self.request.tenant, block, DEADLINE_S)
        self.response.headers["x-read-token"] = token
        return value

    def read(self, block: Callable[[Session, str], T]) -> T:
        """Run a block here, or at the writer if this side is behind what the caller has seen."""
        tenant = self.request.tenant
        return self.tenants.read(tenant, lambda session: block(session, tenant), self.token)


def _caller(
    http: HttpRequest,
    response: Response,
    x_tenant_id: Annotated[str, Header()],
    idempotency_key: Annotated[str | None, Header()] = None,
    x_read_token: Annotated[str | None, Header()] = None,
    x_api_client: Annotated[str, Header(pattern=r"^[A-Za-z0-9._-]{1,64}$")] = "web",
) -> Caller:
    try:
        tenant = unquote_to_bytes(x_tenant_id).decode()
    except UnicodeDecodeError as exc:
        raise Refused(400, "x-tenant-id is no percent-encoded UTF-8") from exc
    if not tenant or "\x00" in tenant:
        raise Refused(400, "x-tenant-id names no tenant")
    http.state.tenant = tenant
    key = None
    if idempotency_key is not None:
        match = _KEY.fullmatch(idempotency_key)
        if match is None or int(match[1]) >= 2**31:
            raise Refused(400, "idempotency-key is not CLIENT-NUMBER")
        key = int(match[1]), int(match[2])
    return Caller(http.app.state.tenants, Request(tenant, key, x_api_client), x_read_token, response)


Called = Annotated[Caller, Depends(_caller)]
routes = APIRouter()


@routes.put("/documents/{id}")
def put_document(id: UUID, body: Text, caller: Called) -> documents.Stored:
    return caller.write(lambda s: documents.put(s, caller.request, id, body.title, body.text))


@routes.get("/documents")
def list_documents(
    caller: Called, after: UUID = _NO_ID, limit: Annotated[int, Query(ge=1, le=1000)] = 100
) -> list[dict[str, Any]]:
    return caller.read(lambda s, tenant: documents.listed(s, tenant, after, limit))


@routes.get("/documents/{id}")
def get_document(id: UUID, caller: Called) -> dict[str, Any]:
    return caller.read(lambda s, tenant: documents.get(s, tenant, id))


@routes.delete("/documents/{id}", status_code=204)
def delete_document(id: UUID, caller: Called) -> None:
    caller.write(lambda s: documents.delete(s, caller.request, id))


@routes.get("/collections")
def list_collections(caller: Called) -> list[dict[str, str]]:
    return caller.read(documents.collections)


@routes.get("/search")
def search(
    caller: Called,
    q: Annotated[str, Query(min_length=1, max_length=5_000)],
    limit: Annotated[int, Query(ge=1, le=50)] = 4,
) -> list[dict[str, Any]]:
    return caller.read(lambda s, tenant: asking.search(s, tenant, q, limit))


@routes.post("/ask")
def ask(body: Question, caller: Called) -> dict[str, Any]:
    return caller.write(lambda s: asking.ask(s, caller.request, body.conversation, body.question))


@routes.get("/conversations/{id}")
def conversation(id: UUID, caller: Called) -> list[dict[str, str]]:
    return caller.read(lambda s, tenant: asking.messages(s, tenant, id))


@routes.put("/sessions/{id}", status_code=204)
def put_session(id: str, body: dict[str, Any], caller: Called) -> None:
    caller.write(lambda s: sessions.put(s, caller.request, id, body))


@routes.get("/sessions/{id}")
def get_session(id: str, caller: Called) -> dict[str, Any]:
    return caller.read(lambda s, tenant: sessions.get(s, tenant, id))


@routes.delete("/sessions/{id}", status_code=204)
def end_session(id: str, caller: Called) -> None:
    caller.write(lambda s: sessions.end(s, caller.request, id))


@routes.post("/events/take")
def take_events(body: Take, caller: Called) -> list[dict[str, str]]:
    return caller.write(lambda s: activity.take(s, caller.request, body.consumer, body.count))


@routes.get("/usage")
def usage(caller: Called) -> dict[str, int]:
    return caller.read(lambda s, tenant: activity.usage(s, tenant, caller.request.client))


@routes.get("/health")
def health(http: HttpRequest) -> dict[str, str]:
    return {"status": "ok", "environment": http.app.state.environment}


def create_app(tenants: Tenants, environment: str, *, allow_faults: bool = False) -> FastAPI:
    """The service's instance in one environment; it closes ``tenants`` when it ends."""

    @asynccontextmanager
    async def life(_app: FastAPI) -> AsyncIterator[None]:
        anyio.to_thread.current_default_thread_limiter().total_tokens = THREADS
        try:
            yield
        finally:
            tenants.close()

    app = FastAPI(title="rag-service", lifespan=life, openapi_url=None)
    app.state.tenants, app.state.environment = tenants, environment
    app.include_router(routes)
    app.add_exception_handler(Refused, _refused)
    app.add_exception_handler(LifecycleError, _not_now)
    app.add_exception_handler(psycopg.OperationalError, _not_now)
    if allow_faults:
        app.add_api_route("/_fault", _set_fault, methods=["POST"], status_code=204)
        app.add_middleware(Faults)
    app.add_middleware(RequestLog, environment=environment)
    return app


def _set_fault(fault: Fault, http: HttpRequest) -> None:
    faults = http.scope["faults"]
    assert isinstance(faults, Faults)
    faults.fault = fault


async def _refused(_http: HttpRequest, exc: Exception) -> Response:
    assert isinstance(exc, Refused)
    return JSONResponse({"detail": exc.detail}, exc.status)


async def _not_now(_http: HttpRequest, exc: Exception) -> Response:
    """The class says enough to whoever reads the answer; the message may hold more than a client should see."""
    return JSONResponse({"detail": type(exc).__name__}, 503, {"retry-after": "1"})
