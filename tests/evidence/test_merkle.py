"""The tree: known vectors of RFC 6962 implementations, every proof of every small tree, and no forged one."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenant_lifecycle.evidence.merkle import (
    EMPTY_ROOT,
    Frontier,
    Node,
    consistency_holds,
    consistency_proof,
    frontier_nodes,
    inclusion_holds,
    inclusion_proof,
    leaf_hash,
    node_hash,
    root_of,
)

#: Leaves and roots that the certificate-transparency implementations test with.
KNOWN_LEAVES = [
    bytes.fromhex(text)
    for text in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
KNOWN_ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]


class Tree:
    """Every perfect subtree of a growing tree."""

    def __init__(self, count: int) -> None:
        self.leaves = [leaf_hash(f"entry {number}".encode()) for number in range(count)]
        self.nodes: dict[Node, bytes] = {}
        self.roots = [EMPTY_ROOT]
        frontier = Frontier()
        for seq, leaf in enumerate(self.leaves):
            frontier, completed = frontier.append(leaf)
            self.nodes.update({Node(level, seq >> level): value for level, value in enumerate(completed)})
            self.roots.append(frontier.root())

    def lookup(self, node: Node) -> bytes:
        return self.nodes[node]


def naive_root(leaves: list[bytes]) -> bytes:
    """The definition of RFC 6962, 2.1, word by word."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    return node_hash(naive_root(leaves[:split]), naive_root(leaves[split:]))


def test_the_known_roots_come_out() -> None:
    hashes = [leaf_hash(leaf) for leaf in KNOWN_LEAVES]
    assert [root_of(hashes[: size + 1]).hex() for size in range(8)] == KNOWN_ROOTS
    assert root_of([]) == EMPTY_ROOT
    assert EMPTY_ROOT.hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def test_every_proof_of_every_small_tree_holds() -> None:
    tree = Tree(33)
    for size in range(1, 34):
        assert tree.roots[size] == naive_root(tree.leaves[:size])
        for index in range(size):
            proof = inclusion_proof(index, size, tree.lookup)
            assert inclusion_holds(index, size, tree.leaves[index], proof, tree.roots[size])
        for old in range(size + 1):
            proof = consistency_proof(old, size, tree.lookup)
            assert consistency_holds(old, size, tree.roots[old], tree.roots[size], proof)


def test_a_known_inclusion_proof_comes_out() -> None:
    """Leaf 0 and leaf 5 of the eight known leaves, as the certificate-transparency tests have them."""
    nodes: dict[Node, bytes] = {}
    frontier = Frontier()
    for seq, leaf in enumerate(KNOWN_LEAVES):
        frontier, completed = frontier.append(leaf_hash(leaf))
        nodes.update({Node(level, seq >> level): value for level, value in enumerate(completed)})
    assert [step.hex() for step in inclusion_proof(0, 8, nodes.__getitem__)] == [
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ]
    assert [step.hex() for step in consistency_proof(6, 8, nodes.__getitem__)] == [
        "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ]


@given(st.integers(1, 33), st.data())
def test_no_other_leaf_place_size_or_step_passes(size: int, data: st.DataObject) -> None:
    tree = Tree(size)
    index = data.draw(st.integers(0, size - 1))
    proof = inclusion_proof(index, size, tree.lookup)
    root = tree.roots[size]
    assert not inclusion_holds(index, size, leaf_hash(b"another"), proof, root)
    assert not inclusion_holds(index, size, tree.leaves[index], (*proof, root), root)
    for other in range(size):
        if other != index:
            assert not inclusion_holds(other, size, tree.leaves[index], proof, root)
    for step in range(len(proof)):
        dropped = proof[:step] + proof[step + 1 :]
        flipped = (*proof[:step], bytes([proof[step][0] ^ 1]) + proof[step][1:], *proof[step + 1 :])
        assert not inclusion_holds(index, size, tree.leaves[index], dropped, root)
        assert not inclusion_holds(index, size, tree.leaves[index], flipped, root)


@given(st.integers(2, 33), st.data())
def test_a_forked_tree_is_not_consistent(size: int, data: st.DataObject) -> None:
    tree = Tree(size)
    old = data.draw(st.integers(1, size - 1))
    proof = consistency_proof(old, size, tree.lookup)
    assert not consistency_holds(old, size, leaf_hash(b"another"), tree.roots[size], proof)
    assert not consistency_holds(old, size, tree.roots[old], leaf_hash(b"another"), proof)
    assert not consistency_holds(size, old, tree.roots[size], tree.roots[old], proof)
    for step in range(len(proof)):
        dropped = proof[:step] + proof[step + 1 :]
        assert not consistency_holds(old, size, tree.roots[old], tree.roots[size], dropped)


def test_a_frontier_names_the_subtrees_it_consists_of() -> None:
    tree = Tree(33)
    for size in range(34):
        hashes = tuple(tree.lookup(node) for node in frontier_nodes(size))
        assert Frontier(size, hashes).root() == tree.roots[size]
    assert [node.last_leaf for node in frontier_nodes(13)] == [7, 11, 12]


@pytest.mark.parametrize(("index", "size"), [(-1, 3), (3, 3), (0, 0)])
def test_a_leaf_that_is_not_there_has_no_proof(index: int, size: int) -> None:
    with pytest.raises(ValueError, match="no leaf"):
        inclusion_proof(index, size, Tree(size).lookup)
    assert not inclusion_holds(index, size, b"", (), EMPTY_ROOT)
