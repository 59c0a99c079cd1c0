"""The types of the service's answers, understood once by one thread before several decode them.

The official client decodes with msgspec, which learns a type's fields when it first meets the type, marks the type
as known before it knows them, and runs Python code in between. A second thread that decodes the same type at that
moment reads fields that are not there yet and ends the process with a segmentation fault (seen with msgspec 0.22.0
and Python 3.11).
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

import msgspec
from pinecone._internal import adapters

#: Of which package types are meant; importing its adapters has brought in the types of all answers.
_PACKAGE = f"{adapters.__name__.partition('.')[0]}."
_LOCK = threading.Lock()
_KNOWN: set[type[msgspec.Struct]] = set()


def understand_answers() -> None:
    """Afterwards answers can be decoded by any number of threads; to be called before a client's first request.

    Costs some 30 ms the first time, little after that.
    """
    with _LOCK:
        for answer in set(_below(msgspec.Struct)) - _KNOWN:
            # Types that only requests have may be such as msgspec can not decode; no answer is.
            with contextlib.suppress(TypeError):
                msgspec.json.Decoder(answer)
            _KNOWN.add(answer)


def _below(parent: type[msgspec.Struct]) -> Iterator[type[msgspec.Struct]]:
    for child in parent.__subclasses__():
        if child.__module__.startswith(_PACKAGE):
            yield child
        yield from _below(child)
