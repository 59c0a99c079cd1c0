"""Logging: sentences or JSON, and never a secret."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenant_lifecycle.logs import LogFormat, configure, redacted


@pytest.fixture(autouse=True)
def root_as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def logged(format: LogFormat, level: int = logging.INFO) -> tuple[logging.Logger, io.StringIO]:
    stream = io.StringIO()
    configure(format=format, level=level, stream=stream)
    return logging.getLogger("tenant_lifecycle.test"), stream


def test_a_sentence_for_people() -> None:
    logger, stream = logged(LogFormat.TEXT)
    logger.warning("step starts: %s", "copy", extra={"action": "step", "step": "copy"})
    logger.debug("not asked for")
    (line,) = stream.getvalue().splitlines()
    assert line[8:] == " warning  step starts: copy  (action=step step=copy)"


def test_an_object_for_programs() -> None:
    logger, stream = logged(LogFormat.JSON)
    try:
        raise OSError("disk")
    except OSError:
        logger.exception("spool cannot be written", extra={"operation": "op_1"})
    line = json.loads(stream.getvalue())
    assert (line["event"], line["level"], line["operation"]) == ("spool cannot be written", "error", "op_1")
    assert "OSError: disk" in line["exception"]


@pytest.mark.parametrize("format", LogFormat)
def test_no_way_into_the_log_lets_a_password_through(format: LogFormat) -> None:
    logger, stream = logged(format)
    dsn = "postgresql://app:hunter2@db:5432/app"
    logger.error(
        "cannot connect to %s", dsn, extra={"dsn": dsn, "all": {"stores": [dsn, "password='hunter2'"]}}
    )
    try:
        raise OSError(f"refused: {dsn}")
    except OSError:
        logger.exception("failed")
    assert "hunter2" not in stream.getvalue()
    assert "app:***@db:5432" in stream.getvalue()


def test_set_up_twice_logs_once() -> None:
    logged(LogFormat.TEXT)
    logger, stream = logged(LogFormat.TEXT)
    logger.error("once")
    assert stream.getvalue().count("once") == 1


_SECRET = st.text(st.characters(codec="ascii", categories=("L", "N", "P", "S")), min_size=4, max_size=30).map(
    lambda text: "Zq" + text.replace("'", "x").replace('"', "x").replace("\\", "x") + "qZ"
)


@given(_SECRET)
def test_a_password_in_an_address_is_hidden_whatever_is_in_it(secret: str) -> None:
    assert secret not in redacted(f"postgresql://app:{secret}@db/app")
    assert secret not in redacted(f"could not reach redis://:{secret}@cache:6379/0 in time")


@given(_SECRET)
def test_a_password_as_a_field_is_hidden(secret: str) -> None:
    assert secret not in redacted(f"host=db password='{secret}' dbname=app")
    assert "dbname=app" in redacted(f"host=db password='{secret}' dbname=app")


@pytest.mark.parametrize(
    "text",
    ["postgresql://app@db/app", "host=db dbname=app", "blue/postgres: no answer", "see https://example.org/a:b@c", "/var/lib/x"],
)  # fmt: skip
def test_what_has_no_secret_stays_as_it_is(text: str) -> None:
    assert redacted(text) == text


def test_passwords_in_queries_and_tokens() -> None:
    assert redacted("postgresql://db/app?user=a&password=hunter2&sslmode=require") == (
        "postgresql://db/app?user=a&password=***&sslmode=require"
    )
    assert redacted("api_key: abc123, PGPASSWORD=abc123") == "api_key: ***, PGPASSWORD=***"


def test_drivers_do_not_write_keys_and_addresses_into_our_log() -> None:
    stream = io.StringIO()
    configure(format=LogFormat.TEXT, level=logging.DEBUG, stream=stream)
    logging.getLogger("httpx").info("HTTP Request: GET https://index/fetch?ids=patient-17")
    logging.getLogger("tenant_lifecycle.x").info("ours")
    assert "patient" not in stream.getvalue()
    assert "ours" in stream.getvalue()
