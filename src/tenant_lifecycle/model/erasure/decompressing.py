"""Compressed bytes, recognised by how they begin and opened up to a bound.

What is cut off, damaged at its end or larger than the bound is opened as far as it goes, and said to be
incomplete: what was not read may hold anything.
"""

from __future__ import annotations

import bz2
import lzma
import zlib
from collections.abc import Callable
from dataclasses import dataclass

import cramjam


@dataclass(frozen=True, slots=True)
class Opened:
    """What came out of compressed bytes."""

    content: bytes
    #: "" or why it is not all.
    lacking: str = ""


@dataclass(frozen=True, slots=True)
class Compression:
    """One format."""

    name: str
    #: Beginnings.
    magic: tuple[bytes, ...]
    open: Callable[[bytes, int], Opened]
    #: Whether the beginning is long enough to be looked for in the middle of other bytes.
    anywhere: bool


def compressions_in(data: bytes) -> list[tuple[int, Compression]]:
    """Where something compressed begins in the bytes, and in which format."""
    found = [(0, one) for one in COMPRESSIONS if data.startswith(one.magic)]
    for one in COMPRESSIONS:
        if one.anywhere:
            for magic in one.magic:
                found += [(at, one) for at in _positions(data, magic, start=1)]
    return found


def open_raw_snappy(data: bytes, bound: int) -> Opened | None:
    """A snappy block has no beginning of its own: try, if the length that it would have is plausible."""
    try:
        size = int(cramjam.snappy.decompress_raw_len(data))
        if not len(data) // 2 <= size <= min(bound, 64 * len(data)):
            return None
        return Opened(bytes(cramjam.snappy.decompress_raw(data)))
    except cramjam.DecompressionError:
        return None


def _positions(data: bytes, magic: bytes, start: int) -> list[int]:
    positions = []
    at = data.find(magic, start)
    while at >= 0:
        positions.append(at)
        at = data.find(magic, at + 1)
    return positions


def _zlib(window: int) -> Callable[[bytes, int], Opened]:
    def opened(data: bytes, bound: int) -> Opened:
        content, rest = bytearray(), data
        while rest and len(content) <= bound:
            decoder = zlib.decompressobj(window)
            try:
                content += decoder.decompress(rest, bound - len(content) + 1)
            except zlib.error as error:
                # Bytes behind the last member are padding, or whatever the format around it puts there.
                return Opened(bytes(content), "" if rest is not data else f"damaged: {error}")
            if not decoder.eof:
                break
            rest = decoder.unused_data
        else:
            return _bounded(content, bound)
        cut = "too large" if len(content) > bound else "cut off"
        return Opened(bytes(content[:bound]), cut)

    return opened


def _stream(
    make: Callable[[], bz2.BZ2Decompressor | lzma.LZMADecompressor],
) -> Callable[[bytes, int], Opened]:
    def opened(data: bytes, bound: int) -> Opened:
        decoder = make()
        try:
            content = decoder.decompress(data, bound + 1)
        except (OSError, lzma.LZMAError) as error:
            return Opened(b"", f"damaged: {error}")
        if len(content) <= bound and not decoder.eof:
            return Opened(content, "cut off")
        return _bounded(content, bound)

    return opened


def _cramjam(decompress_into: Callable[[bytes, bytearray], int]) -> Callable[[bytes, int], Opened]:
    def opened(data: bytes, bound: int) -> Opened:
        room = min(bound, max(65_536, 16 * len(data)))
        while True:
            buffer = bytearray(room)
            try:
                return Opened(bytes(buffer[: decompress_into(data, buffer)]))
            except cramjam.DecompressionError as error:
                full = "whole buffer" in str(error) and "fill" not in str(error)
                if not full:
                    return Opened(bytes(buffer.rstrip(b"\0")), f"damaged: {error}")
                if room == bound:
                    return Opened(bytes(buffer), "too large")
                room = min(bound, 16 * room)

    return opened


def _bounded(content: bytes | bytearray, bound: int) -> Opened:
    return Opened(bytes(content[:bound]), "too large" if len(content) > bound else "")


#: zlib has no magic; these are the first two bytes at the usual windows and levels.
COMPRESSIONS = (
    Compression("gzip", (b"\x1f\x8b\x08",), _zlib(31), True),
    Compression("zlib", (b"\x78\x01", b"\x78\x5e", b"\x78\x9c", b"\x78\xda"), _zlib(15), False),
    Compression("zstd", (b"\x28\xb5\x2f\xfd",), _cramjam(cramjam.zstd.decompress_into), True),
    Compression("lz4", (b"\x04\x22\x4d\x18",), _cramjam(cramjam.lz4.decompress_into), True),
    Compression("snappy", (b"\xff\x06\x00\x00sNaPpY",), _cramjam(cramjam.snappy.decompress_into), True),
    Compression("bzip2", (b"BZh1", b"BZh5", b"BZh6", b"BZh9"), _stream(bz2.BZ2Decompressor), False),
    Compression("xz", (b"\xfd7zXZ\0",), _stream(lzma.LZMADecompressor), True),
)
