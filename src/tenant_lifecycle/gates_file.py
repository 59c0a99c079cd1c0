"""The steps and gates of the gradual cutover in ``lifecycle.yaml``: under ``policies``, and per tier."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from tenant_lifecycle.model.gates import GatePolicy, OnFailure, OnInconclusive
from tenant_lifecycle.yaml_file import Node

#: Key in the file -> field of `GatePolicy` and how it is read; a test asserts that every field is here.
_KEYS: Mapping[str, tuple[str, Callable[[Node], Any]]] = {
    "soak": ("soak_s", lambda node: node.seconds()),
    "interval": ("interval_s", lambda node: node.seconds(positive=True)),
    "samples": ("samples", lambda node: node.integer(minimum=1)),
    "recent": ("recent_s", lambda node: node.seconds(positive=True)),
    "errors": ("errors", lambda node: node.number(minimum=0.0, maximum=1.0)),
    "errors_times": ("errors_times", lambda node: node.number(minimum=0.0)),
    "error_risk": ("error_risk", lambda node: node.number(minimum=1e-9, maximum=0.5)),
    "p99_times": ("p99_times", lambda node: node.number(minimum=1.0)),
    "p99_floor": ("p99_floor_ms", lambda node: node.seconds() * 1e3),
    "business": ("business", lambda node: node.number(minimum=0.0, maximum=1.0)),
    "looks": ("looks", lambda node: node.integer(minimum=1)),
    "max_inconclusive": ("inconclusive_s", lambda node: node.seconds()),
    "on_inconclusive": ("on_inconclusive", lambda node: OnInconclusive(node.choice(list(OnInconclusive)))),
    "on_failure": ("on_failure", lambda node: OnFailure(node.choice(list(OnFailure)))),
    "watch": ("watch_s", lambda node: node.seconds()),
}
GATE_KEYS = frozenset(_KEYS)


def read_gates(node: Node, base: GatePolicy) -> GatePolicy:
    """``base`` with what the keys change.

    Raises:
        ConfigError: with file and line.
    """
    fields = node.mapping(GATE_KEYS)
    changes = {_KEYS[key][0]: _KEYS[key][1](value) for key, value in fields.items()}
    return replace(base, **changes)


def read_steps(node: Node) -> tuple[int, ...]:
    """Percents that grow; the writer and the last percents follow by themselves, so 100 is no step.

    Raises:
        ConfigError: with file and line.
    """
    steps: list[int] = []
    for item in node.list():
        percent = item.integer(minimum=1, maximum=99)
        if steps and percent <= steps[-1]:
            raise item.error(f"steps must grow, and {percent} does not follow {steps[-1]}")
        steps.append(percent)
    return tuple(steps)


def parse_steps(text: str) -> tuple[int, ...]:
    """``10,25,50`` as a person writes it; ``none`` or nothing: all at once.

    Raises:
        ValueError: it is no list of percents that grow.
    """
    if text.strip().lower() in ("", "none"):
        return ()
    try:
        steps = tuple(int(part) for part in text.split(","))
    except ValueError as exc:
        raise ValueError(f"{text!r} is no list of percents; write 10,25,50, or none") from exc
    if any(not 1 <= percent <= 99 for percent in steps) or list(steps) != sorted(set(steps)):
        raise ValueError(f"{text!r}: percents must grow and lie between 1 and 99, such as 10,25,50")
    return steps
