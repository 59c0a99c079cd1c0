"""The service's SQL, by name."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import psycopg


@cache
def _statements() -> Mapping[str, bytes]:
    text = Path(__file__).with_name("statements.sql").read_text(encoding="utf-8")
    parts = (part.partition("\n") for part in text.split("-- name: ")[1:])
    return {name.strip(): body.strip().rstrip(";").encode() for name, _, body in parts}


def run(conn: psycopg.Connection[Any], name: str, **values: object) -> psycopg.Cursor[Any]:
    """Execute the statement of that name in ``statements.sql``."""
    return conn.execute(_statements()[name], values)
