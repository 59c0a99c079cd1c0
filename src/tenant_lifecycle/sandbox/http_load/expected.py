"""What the application makes of a text, written a second time: where the two differ, one of them is wrong."""

from __future__ import annotations

import hashlib
import re
from urllib.parse import quote

from tenant_lifecycle.sandbox.items import canonical, digest, vector_digest
from tenant_lifecycle.sandbox.ledger import Do, Effect

DIMENSIONS, PIECE = 32, 400


def pieces(text: str) -> list[str]:
    """Whole sentences, in order, together below `PIECE` characters where one alone is."""
    found: list[str] = []
    for sentence in re.split(r"(?<=[.!?])\s+", text.strip()):
        if found and len(found[-1]) + len(sentence) < PIECE:
            found[-1] += f" {sentence}"
        else:
            found.append(sentence)
    return found


def vector(text: str) -> list[float]:
    """Words of two bytes each: the first says which number, an odd second one adds, an even one subtracts."""
    numbers = [0] * DIMENSIONS
    for word in re.findall(r"\w+", text.lower()):
        which, sign = hashlib.blake2b(word.encode(), digest_size=2).digest()
        numbers[which % DIMENSIONS] += 1 if sign & 1 else -1
    return [float(number) for number in (numbers if any(numbers) else [1, *numbers[1:]])]


def document_effects(
    tenant: str, collection: str, id: str, title: str, text: str, v: int, chunks_before: int
) -> list[Effect]:
    """What is true when a document was put: its row, its chunks, its object, its vectors, and no more chunks."""
    body, space = text.encode(), f"library-{collection}"
    found = [
        Effect(
            Do.PUT, "documents", {"id": id},
            {"title": title, "body": _md5(text), "v": str(v), "tags": "api", "status": "indexed"},
        ),
        Effect(
            Do.PUT, "objects", {"key": f"documents/{tenant}/{id}.txt"},
            {
                "sha256": digest(body), "type": "text/plain; charset=utf-8",
                "metadata": canonical({"title": quote(title), "v": str(v), "sha256": digest(body)}),
                "tags": canonical({"kind": "document", "v": str(v)}),
            },
        ),
    ]  # fmt: skip
    parts = pieces(text)
    for ordinal, piece in enumerate(parts):
        numbers = vector(piece)
        chunk = {"document": id, "ordinal": str(ordinal)}
        values = {
            "content": _md5(piece), "length": str(len(piece)),
            # As the server prints it.
            "embedding": f"[{','.join(f'{number:g}' for number in numbers)}]",
        }  # fmt: skip
        metadata = canonical({"document": id, "ordinal": ordinal, "v": v})
        found.append(Effect(Do.PUT, "chunks", chunk, values))
        found.append(
            Effect(
                Do.PUT, "vectors", {"namespace": space, "id": f"{id}#{ordinal}"},
                {"vector": vector_digest(numbers), "metadata": metadata},
            )
        )  # fmt: skip
    return [*found, *chunks_gone(collection, id, range(len(parts), chunks_before))]


def chunks_gone(collection: str, id: str, ordinals: range) -> list[Effect]:
    """What is true when chunks were taken away: neither rows nor vectors."""
    found = []
    for ordinal in ordinals:
        found.append(Effect(Do.GONE, "chunks", {"document": id, "ordinal": str(ordinal)}))
        key = {"namespace": f"library-{collection}", "id": f"{id}#{ordinal}"}
        found.append(Effect(Do.GONE, "vectors", key))
    return found


def recorded(tenant: str, client: str, kind: str, ref: str, **fields: str) -> list[Effect]:
    """What is true when a request was counted and told to the workers."""
    return [
        Effect(Do.ADD, "redis:usage", {"key": f"usage:{tenant}:{client}:{kind}"}, count=1),
        Effect(Do.PUT, "redis:events", {"key": f"events:{tenant}", "request": ref}, {"kind": kind, **fields}),
    ]


def message(ref: str, conversation: str, content: str) -> Effect:
    """What is true when a message was written down."""
    return Effect(Do.PUT, "messages", {"ref": ref}, {"content": _md5(content), "conversation": conversation})


def _md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()
