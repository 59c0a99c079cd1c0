"""RFC 6962 Merkle trees over SHA-256: appending, roots, and proofs of inclusion and of consistency.

A tree is known by the hashes of its perfect subtrees. ``Node`` names one: at level ``l``, index ``i`` it covers the
leaves ``[i * 2**l, (i + 1) * 2**l)``. A perfect subtree never changes once its last leaf is there, so whoever
stores, beside each leaf, the subtrees that it completes (`Frontier.append`) can prove everything later by reading
about log2(size) of them. Verifying follows RFC 9162, 2.1.3.2 and 2.1.4.2, and shares no code with proving.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

#: Root of the tree without leaves.
EMPTY_ROOT = hashlib.sha256(b"").digest()
HASH_BYTES = 32


@dataclass(frozen=True, slots=True, order=True)
class Node:
    """A perfect subtree."""

    level: int
    index: int

    @property
    def last_leaf(self) -> int:
        """The leaf that completes it."""
        return ((self.index + 1) << self.level) - 1


#: Gives the hash of a perfect subtree of the tree; raises KeyError if it has none.
Lookup = Callable[[Node], bytes]


def leaf_hash(data: bytes) -> bytes:
    """Hash of a leaf."""
    return hashlib.sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Hash of an inner node."""
    return hashlib.sha256(b"\x01" + left + right).digest()


@dataclass(frozen=True, slots=True)
class Frontier:
    """The perfect subtrees of a tree, largest first: all that appending and the root need."""

    size: int = 0
    hashes: tuple[bytes, ...] = ()

    def append(self, leaf: bytes) -> tuple[Frontier, tuple[bytes, ...]]:
        """The tree with one more leaf (given its hash), and the subtrees that it completes, smallest first."""
        completed, rest = [leaf], list(self.hashes)
        for _ in range(_trailing_ones(self.size)):
            completed.append(node_hash(rest.pop(), completed[-1]))
        return Frontier(self.size + 1, (*rest, completed[-1])), tuple(completed)

    def root(self) -> bytes:
        """The tree's root."""
        return _joined(self.hashes)


def frontier_nodes(size: int) -> tuple[Node, ...]:
    """The perfect subtrees that a tree of ``size`` leaves consists of, largest first."""
    return _cover(0, size)


def root_of(leaves: Sequence[bytes]) -> bytes:
    """Root over leaf hashes."""
    frontier = Frontier()
    for leaf in leaves:
        frontier, _ = frontier.append(leaf)
    return frontier.root()


def inclusion_proof(index: int, size: int, lookup: Lookup) -> tuple[bytes, ...]:
    """The proof that leaf ``index`` is in the tree of ``size`` leaves (RFC 6962, 2.1.1).

    Raises:
        ValueError: there is no such leaf.
    """
    if not 0 <= index < size:
        raise ValueError(f"a tree of {size} leaves has no leaf {index}")
    return tuple(_path(index, 0, size, lookup))


def consistency_proof(old: int, new: int, lookup: Lookup) -> tuple[bytes, ...]:
    """The proof that the tree of ``old`` leaves is the beginning of that of ``new`` (RFC 6962, 2.1.2).

    Raises:
        ValueError: not ``0 <= old <= new``.
    """
    if not 0 <= old <= new:
        raise ValueError(f"a tree of {new} leaves has no beginning of {old}")
    if old in (0, new):
        return ()
    return tuple(_subproof(old, 0, new, True, lookup))


def inclusion_holds(index: int, size: int, leaf: bytes, proof: Sequence[bytes], root: bytes) -> bool:
    """Whether the proof shows the leaf at ``index`` of the tree with that root."""
    if not 0 <= index < size:
        return False
    at, last, value = index, size - 1, leaf
    for step in proof:
        if last == 0:
            return False
        if at & 1 or at == last:
            value = node_hash(step, value)
            while not at & 1 and at:
                at, last = at >> 1, last >> 1
        else:
            value = node_hash(value, step)
        at, last = at >> 1, last >> 1
    return last == 0 and value == root


def consistency_holds(old: int, new: int, old_root: bytes, new_root: bytes, proof: Sequence[bytes]) -> bool:
    """Whether the proof shows that the tree with ``old_root`` is the beginning of that with ``new_root``."""
    if old == new:
        return not proof and old_root == new_root
    if old == 0:
        return not proof and old_root == EMPTY_ROOT
    if not 0 < old < new or not proof:
        return False
    steps = list(proof) if old & (old - 1) else [old_root, *proof]
    at, last = old - 1, new - 1
    while at & 1:
        at, last = at >> 1, last >> 1
    first = second = steps[0]
    for step in steps[1:]:
        if last == 0:
            return False
        if at & 1 or at == last:
            first, second = node_hash(step, first), node_hash(step, second)
            while not at & 1 and at:
                at, last = at >> 1, last >> 1
        else:
            second = node_hash(second, step)
        at, last = at >> 1, last >> 1
    return last == 0 and first == old_root and second == new_root


def _trailing_ones(number: int) -> int:
    return (~number & (number + 1)).bit_length() - 1


def _joined(hashes: Sequence[bytes]) -> bytes:
    """Root over perfect subtrees, largest first."""
    if not hashes:
        return EMPTY_ROOT
    value = hashes[-1]
    for left in reversed(hashes[:-1]):
        value = node_hash(left, value)
    return value


def _cover(start: int, end: int) -> tuple[Node, ...]:
    """Perfect subtrees of the range ``[start, end)``, which begins at a multiple of the largest of them."""
    nodes = []
    while start < end:
        level = (end - start).bit_length() - 1
        nodes.append(Node(level, start >> level))
        start += 1 << level
    return tuple(nodes)


def _range_hash(start: int, end: int, lookup: Lookup) -> bytes:
    return _joined([lookup(node) for node in _cover(start, end)])


def _split(start: int, end: int) -> int:
    """Where the left subtree of ``[start, end)`` ends: the largest power of two below its size."""
    return start + (1 << ((end - start - 1).bit_length() - 1))


def _path(index: int, start: int, end: int, lookup: Lookup) -> list[bytes]:
    if end - start == 1:
        return []
    middle = _split(start, end)
    if index < middle:
        return [*_path(index, start, middle, lookup), _range_hash(middle, end, lookup)]
    return [*_path(index, middle, end, lookup), _range_hash(start, middle, lookup)]


def _subproof(old: int, start: int, end: int, whole: bool, lookup: Lookup) -> list[bytes]:
    """``old``: where the old tree ends; ``whole``: its root is known to the verifier if it is this subtree."""
    if old == end:
        return [] if whole else [_range_hash(start, end, lookup)]
    middle = _split(start, end)
    if old <= middle:
        return [*_subproof(old, start, middle, whole, lookup), _range_hash(middle, end, lookup)]
    return [*_subproof(old, middle, end, False, lookup), _range_hash(start, middle, lookup)]
