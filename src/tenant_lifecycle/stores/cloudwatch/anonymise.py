"""Taking a tenant out of one line: identifiers become tokens that nothing leads back from.

The same identifier becomes the same token within one run of an operation, so that lines can still be told to belong
together; the key is never kept. Lines that are JSON stay JSON; in others, identifiers are replaced as whole words.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from collections.abc import Callable, Iterable
from typing import Any

from tenant_lifecycle.model.sharedmap import ResolvedShared

#: The field that planted lines carry their marker in; always replaced.
CANARY = "tenant_lifecycle_canary"
Token = Callable[[str], str]


def tokens(key: bytes) -> Token:
    """Makes tokens; nobody without the key can tell which identifier one stands for."""
    return lambda text: (
        "anon-" + hmac.digest(key, text.encode("utf-8", "surrogatepass"), hashlib.sha256).hex()[:24]
    )


def words(identifiers: Iterable[str]) -> re.Pattern[str]:
    """Finds identifiers as whole words, the longest first: ``1`` is not found in ``12``."""
    longest = sorted({one for one in identifiers if one}, key=len, reverse=True)
    return re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, longest))})(?!\w)" if longest else r"(?!)")


def anonymised(message: str, rule: ResolvedShared, found: re.Pattern[str], token: Token) -> str:
    """The line without the tenant."""
    try:
        value = json.loads(message)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict | list):
        return found.sub(lambda match: token(match[0]), message)
    for path in (rule.path, *rule.personal, (CANARY,)):
        _replace(value, path, token)
    return json.dumps(_without(value, found, token), ensure_ascii=False)


def _replace(value: Any, path: tuple[str, ...], token: Token) -> None:
    """Put a token in the place of whatever stands at the path; a step that needs opening takes all of it."""
    for depth, step in enumerate(path):
        key: Any = int(step) if isinstance(value, list) and step.isdecimal() else step
        inside = value.get(key) if isinstance(value, dict) else _item(value, key)
        if inside is None:
            return
        if depth == len(path) - 1 or not isinstance(inside, dict | list):
            value[key] = token(inside if isinstance(inside, str) else json.dumps(inside, sort_keys=True))
            return
        value = inside


def _item(value: Any, key: Any) -> Any:
    return value[key] if isinstance(value, list) and isinstance(key, int) and key < len(value) else None


def _without(value: Any, found: re.Pattern[str], token: Token) -> Any:
    if isinstance(value, str):
        return found.sub(lambda match: token(match[0]), value)
    if isinstance(value, list):
        return [_without(one, found, token) for one in value]
    if isinstance(value, dict):
        return {_without(name, found, token): _without(one, found, token) for name, one in value.items()}
    return value
