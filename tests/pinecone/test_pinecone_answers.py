"""Answers are understood before several threads decode them: the first decoding is not safe, and ends a process."""

from __future__ import annotations

import subprocess
import sys

import pytest

#: Decodes every answer of the vectors and the list of indexes; prints how many classes had to be learned for it.
DECODE = """
import sys
from pinecone._internal.adapters import IndexesAdapter, VectorsAdapter
from pinecone.errors import PineconeError

FIRST = sys.argv[1]
if FIRST == "understood":
    from tenant_lifecycle.stores.pinecone.answers import understand_answers
    understand_answers()
elif FIRST == "client":
    from tenant_lifecycle.stores.pinecone.client import Client
    Client("vectors", "key", "index").close()

learned = []
sys.setprofile(
    lambda frame, event, arg: learned.append(1)
    if event == "call" and frame.f_code.co_name == "get_class_annotations" else None
)
answers = [(VectorsAdapter, name) for name in dir(VectorsAdapter) if name.startswith("to_")]
assert len(answers) > 5
for adapter, name in [*answers, (IndexesAdapter, "to_index_model"), (IndexesAdapter, "to_index_list")]:
    try:
        getattr(adapter, name)(b"{}")
    except PineconeError:
        pass
sys.setprofile(None)
print(len(learned))
"""


def learned_while_decoding(first: str) -> int:
    done = subprocess.run(
        [sys.executable, "-c", DECODE, first], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


@pytest.mark.parametrize("first", ["understood", "client"])
def test_no_thread_has_to_learn_the_type_of_an_answer(first: str) -> None:
    assert learned_while_decoding(first) == 0


def test_the_driver_alone_learns_types_while_it_decodes() -> None:
    """Should this fail one day, the driver or msgspec has mended it, and `answers` can go."""
    assert learned_while_decoding("nothing") > 0
