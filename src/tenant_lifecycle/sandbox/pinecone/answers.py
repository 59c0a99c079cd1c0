"""Answers of the emulator: a status, JSON, and how far the namespace's log is."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import orjson


@dataclass(frozen=True, slots=True)
class Answer:
    """What is sent back."""

    body: Any = field(default_factory=dict)
    status: int = 200
    headers: tuple[tuple[bytes, bytes], ...] = ()

    def encoded(self) -> bytes:
        return orjson.dumps(self.body, option=orjson.OPT_SERIALIZE_NUMPY)


class Refusal(Exception):
    """A request that is answered with an error."""

    status, code = 400, "INVALID_ARGUMENT"

    def answer(self) -> Answer:
        return Answer(
            {"error": {"code": self.code, "message": str(self)}, "status": self.status}, self.status
        )


class BadRequest(Refusal):
    """The request itself is wrong."""


class NotFound(Refusal):
    """No index or namespace of that name."""

    status, code = 404, "NOT_FOUND"


class Unauthorized(Refusal):
    """Not the API key the emulator was started with."""

    status, code = 401, "UNAUTHENTICATED"


class Conflict(Refusal):
    """There is one of that name."""

    status, code = 409, "ALREADY_EXISTS"


class Forbidden(Refusal):
    """Protected from deletion."""

    status, code = 403, "FORBIDDEN"


def committed(number: int, body: Any = None) -> Answer:
    """The answer to a write that became number ``number`` of its namespace."""
    return Answer(body or {}, headers=((b"x-pinecone-lsn-committed", str(number).encode()),))


def reconciled(number: int, body: Any) -> Answer:
    """The answer to a query that saw the writes up to ``number``."""
    return Answer(body, headers=((b"x-pinecone-lsn-reconciled", str(number).encode()),))
