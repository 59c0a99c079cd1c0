"""The section ``erasure`` of ``lifecycle.yaml``: who agrees, how long to wait, what has to be proven, what is kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from tenant_lifecycle.model.erasure.outcome import DATED, Level
from tenant_lifecycle.model.erasure.policy import ErasurePolicy, RetentionRule
from tenant_lifecycle.model.erasure.request import Exception17
from tenant_lifecycle.yaml_file import Node


def read_erasure(node: Node) -> ErasurePolicy:
    """The policy that the section describes.

    Raises:
        ConfigError: with file and line.
    """
    fields = node.mapping(ERASURE_KEYS)
    return replace(ErasurePolicy(), **{_KEYS[key][0]: _KEYS[key][1](value) for key, value in fields.items()})


def _rescans(node: Node) -> tuple[float, ...]:
    times: list[float] = []
    for item in node.list():
        after = item.seconds(positive=True)
        if times and after <= times[-1]:
            raise item.error("rescans must be given in the order of time")
        times.append(after)
    return tuple(times)


def _required(node: Node) -> Mapping[str, Level]:
    """By kind of store; what is only promised cannot be required."""
    levels = [level.value for level in Level if level not in DATED]
    return {kind: Level(value.choice(levels)) for kind, value in node.mapping().items()}


def _retention(node: Node) -> tuple[RetentionRule, ...]:
    return tuple(_rule(item) for item in node.list())


def _rule(node: Node) -> RetentionRule:
    names = ("store", "set", "ground", "until", "why")
    fields = node.mapping(set(names), required=names)
    return RetentionRule(
        fields["store"].text(),
        fields["set"].text(),
        Exception17(fields["ground"].choice([ground.value for ground in Exception17])),
        _date(fields["until"]),
        fields["why"].text(),
    )


def _date(node: Node) -> float:
    """The end of a day, in UTC."""
    text = node.text()
    try:
        day = datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError as error:
        raise node.error(f"{text!r} is no date; write it as 2035-12-31") from error
    return day.timestamp() + 86400.0


#: Key in the file -> field of `ErasurePolicy` and how it is read; a test asserts that every field is here.
_KEYS: Mapping[str, tuple[str, Callable[[Node], Any]]] = {
    "approvals": ("approvals", lambda node: node.integer(minimum=1)),
    "approval_valid": ("approval_valid_s", lambda node: node.seconds(positive=True)),
    "cooling_off": ("cooling_off_s", lambda node: node.seconds()),
    "settle": ("settle_s", lambda node: node.seconds()),
    "rescans": ("rescans_s", _rescans),
    "rounds": ("rounds", lambda node: node.integer(minimum=1)),
    "tolerance": ("tolerance", lambda node: node.number(minimum=0.0, maximum=1.0)),
    "attempts": ("attempts", lambda node: node.integer(minimum=1)),
    "neighbours": ("neighbours", lambda node: node.integer(minimum=0)),
    "control_tenant": ("control_tenant", lambda node: node.text()),
    "hold_release": ("hold_release_s", lambda node: node.seconds()),
    "margin": ("margin_s", lambda node: node.seconds()),
    "required": ("required", _required),
    "retention": ("retention", _retention),
}
ERASURE_KEYS = frozenset(_KEYS)
