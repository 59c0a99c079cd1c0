"""What a stream holds in memory, entries included that were deleted and only marked: read out of its dump.

A dump is the server's RDB form of the value: blocks (listpacks) of entries, some of them compressed with LZF.
Format: rdb.h and listpack.c of Redis 5 to 7.4.
"""

from __future__ import annotations

from collections.abc import Iterator

_STREAM_TYPES = frozenset({15, 19, 21})
_LZF = 3
_BITS = {0xF1: 2, 0xF2: 3, 0xF3: 4, 0xF4: 8}


def elements(dump: bytes) -> Iterator[bytes]:
    """Every text and number in a stream's blocks.

    Raises:
        ValueError: it is no stream, or a form that is not known.
    """
    if not dump or dump[0] not in _STREAM_TYPES:
        raise ValueError("no dump of a stream")
    try:
        blocks, at = _length(dump, 1)
        for _ in range(blocks):
            _, at = _text(dump, at)
            block, at = _text(dump, at)
            yield from _listpack(block)
    except IndexError as exc:
        raise ValueError("a dump that ends too early") from exc


def _length(data: bytes, at: int) -> tuple[int, int]:
    first = data[at]
    match first >> 6:
        case 0:
            return first & 0x3F, at + 1
        case 1:
            return (first & 0x3F) << 8 | data[at + 1], at + 2
        case 2:
            size = 4 if first == 0x80 else 8
            return int.from_bytes(data[at + 1 : at + 1 + size], "big"), at + 1 + size
    raise ValueError("a length that is none")


def _text(data: bytes, at: int) -> tuple[bytes, int]:
    if data[at] >> 6 == 3:
        if data[at] & 0x3F != _LZF:
            raise ValueError("a block that is a number")
        packed, at = _length(data, at + 1)
        size, at = _length(data, at)
        return decompress(data[at : at + packed], size), at + packed
    size, at = _length(data, at)
    return data[at : at + size], at + size


def decompress(data: bytes, size: int) -> bytes:
    """LZF: runs of literals, and copies of what came before."""
    out = bytearray()
    at = 0
    while at < len(data):
        control = data[at]
        at += 1
        if control < 32:
            out += data[at : at + control + 1]
            at += control + 1
            continue
        count = control >> 5
        if count == 7:
            count += data[at]
            at += 1
        start = len(out) - ((control & 31) << 8) - data[at] - 1
        at += 1
        for step in range(count + 2):
            out.append(out[start + step])
    if len(out) != size:
        raise ValueError("a block of another size than it says")
    return bytes(out)


def _listpack(block: bytes) -> Iterator[bytes]:
    at = 6
    while block[at] != 0xFF:
        value, size = _element(block, at)
        yield value
        at += size + _back(size)


def _element(block: bytes, at: int) -> tuple[bytes, int]:
    """An element's text, and how long its form is without what leads back from its end."""
    first = block[at]
    if first < 0x80:
        return b"%d" % first, 1
    if first < 0xC0:
        return _piece(block, at + 1, first & 0x3F, 1)
    if first < 0xE0:
        number = (first & 0x1F) << 8 | block[at + 1]
        return b"%d" % (number - 8192 if number >= 4096 else number), 2
    if first < 0xF0:
        return _piece(block, at + 2, (first & 0x0F) << 8 | block[at + 1], 2)
    if first == 0xF0:
        return _piece(block, at + 5, int.from_bytes(block[at + 1 : at + 5], "little"), 5)
    size = _BITS[first]
    return b"%d" % int.from_bytes(block[at + 1 : at + 1 + size], "little", signed=True), 1 + size


def _piece(block: bytes, start: int, size: int, head: int) -> tuple[bytes, int]:
    return block[start : start + size], head + size


def _back(size: int) -> int:
    return next(
        bytes_ for bytes_, most in enumerate((127, 16383, 2097151, 268435455, 2**35), 1) if size <= most
    )
