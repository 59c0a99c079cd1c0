"""Logging, set up once by whoever is the program: sentences for people, or one JSON object per line.

Modules log through the standard library with a sentence and ``extra={...}``. Passwords in addresses are taken
out of every record on its way, whoever wrote it.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Mapping, MutableMapping
from enum import StrEnum
from typing import Any, TextIO

import structlog

#: Drivers that write addresses, keys and ids into their log lines. Whoever needs those asks the driver, not us.
_TALKATIVE = (
    "httpx",
    "httpcore",
    "pinecone",
    "qdrant_client",
    "boto3",
    "botocore",
    "s3transfer",
    "urllib3",
    "redis",
)

#: Stands where a secret was.
HIDDEN = "***"

#: The password of ``scheme://user:password@host``; a password may hold @ and / in careless hands, so up to the last @.
_IN_ADDRESS = re.compile(r"([a-z][a-z0-9+.-]*://[^\s:/?#@\"']*:)([^\s\"']*)(@)", re.IGNORECASE)
#: ``password=...`` in a query or in key=value form, quoted or not.
_AS_FIELD = re.compile(
    r"((?:\b|_|PG)(?:password|passwd|pwd|sslpassword|secret|token|api[_-]?key)\s*[=:]\s*)"
    r"('(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"|[^\s&'\",;]+)",
    re.IGNORECASE,
)


class LogFormat(StrEnum):
    """How log lines look."""

    TEXT = "text"
    JSON = "json"


def redacted(text: str) -> str:
    """The text, an address or any sentence with addresses in it, without the passwords."""
    return _AS_FIELD.sub(rf"\g<1>{HIDDEN}", _IN_ADDRESS.sub(rf"\g<1>{HIDDEN}\g<3>", text))


def configure(
    *, format: LogFormat = LogFormat.TEXT, level: int = logging.WARNING, stream: TextIO | None = None
) -> None:
    """Send all logging to ``stream``, by default stderr. Called again, it replaces what was set up before."""
    shared: list[structlog.typing.Processor] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        _hide_secrets,
    ]
    render: structlog.typing.Processor = (
        structlog.processors.JSONRenderer(ensure_ascii=False) if format is LogFormat.JSON else _sentence
    )
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, render],
        )
    )
    root = logging.getLogger()
    for old in [old for old in root.handlers if getattr(old, "_tenant_lifecycle", False)]:
        root.removeHandler(old)
    handler._tenant_lifecycle = True  # type: ignore[attr-defined]
    root.addHandler(handler)
    root.setLevel(level)
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(max(level, logging.WARNING))


#: What formatters of other handlers leave behind in a record; it is no data of its own.
_OF_OTHER_HANDLERS = frozenset({"message", "asctime", "exc_text"})


def _hide_secrets(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    return {key: _without_secrets(value) for key, value in event.items() if key not in _OF_OTHER_HANDLERS}


def _without_secrets(value: Any) -> Any:
    if isinstance(value, str):
        return redacted(value)
    if isinstance(value, Mapping):
        return {key: _without_secrets(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_secrets(item) for item in value]
    return value


def _sentence(_logger: object, _method: str, event: MutableMapping[str, Any]) -> str:
    """``14:02:11 warning  step starts: copy  (step=copy)``; a traceback follows on lines of its own."""
    fields = dict(event)
    clock = str(fields.pop("timestamp", ""))[11:19]
    level = fields.pop("level", "info")
    message = fields.pop("event", "")
    trace = fields.pop("exception", "")
    data = " ".join(f"{key}={value}" for key, value in fields.items())
    line = f"{clock} {level:<7}  {message}" + (f"  ({data})" if data else "")
    return f"{line}\n{trace}" if trace else line
