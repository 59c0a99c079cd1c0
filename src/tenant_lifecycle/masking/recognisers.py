"""Plug-ins that recognise people in prose whom no column knows; nothing of ours downloads a model.

An entry point in the group `GROUP` names a callable without arguments that gives a recogniser: text in, spans out,
each with the kind that masks it (``name``, ``address``, ``phone`` ...). docs/masking.md has one for Presidio.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib.metadata import entry_points

from tenant_lifecycle.errors import ConfigError
from tenant_lifecycle.masking.patterns import Span
from tenant_lifecycle.masking.text import Recognise
from tenant_lifecycle.masking.transformers import KINDS

GROUP = "tenant_lifecycle.recognisers"


def recognisers(names: Sequence[str]) -> list[Recognise]:
    """Those of these names, in order.

    Raises:
        ConfigError: there is none of a name.
    """
    return [_checked(name, _loaded(name)) for name in names]


def _loaded(name: str) -> Recognise:
    for point in entry_points(group=GROUP, name=name):
        made: Recognise = point.load()()
        return made
    raise ConfigError(
        f"no recogniser is called {name!r}", next_step=f"install a package with an entry point in {GROUP!r}"
    )


def _checked(name: str, recognise: Recognise) -> Recognise:
    """Spans inside of the text and of kinds that there are; others would mask the wrong thing or nothing."""

    def checked(text: str) -> Iterator[Span]:
        for span in recognise(text):
            if span.kind not in KINDS or not 0 <= span.start < span.end <= len(text):
                raise ConfigError(
                    f"the recogniser {name} gave a span of kind {span.kind!r} from {span.start} to {span.end}",
                    next_step="ask who wrote it: kinds are those of docs/masking.md, positions those of the text",
                )
            yield span

    return checked
