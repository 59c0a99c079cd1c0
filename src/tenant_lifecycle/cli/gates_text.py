"""Shares and gates as text: what a step of the gradual cutover shows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tenant_lifecycle.cli.output import one_line, printable


def share_text(detail: Mapping[str, Any]) -> str:
    """``blue 75 %, green 25 %, writes to blue``; empty without shares."""
    share = detail.get("share")
    if not isinstance(share, Mapping) or not share:
        return ""
    parts = [f"{printable(str(name))} {percent} %" for name, percent in sorted(share.items()) if percent]
    if detail.get("writer"):
        parts.append(f"writes to {printable(str(detail['writer']))}")
    return ", ".join(parts)


def gate_lines(detail: Mapping[str, Any]) -> Iterator[str]:
    """One line per gate: its verdict as a word, its name, its source and its sentence."""
    for gate in detail.get("gates") or ():
        source = f" ({printable(gate['source'])})" if gate.get("source") else ""
        sentence = printable(one_line(str(gate["sentence"])))
        yield f"{gate['verdict']:<12}  {printable(str(gate['gate']))}{source}: {sentence}"
