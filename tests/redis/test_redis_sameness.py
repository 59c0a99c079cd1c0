"""Whether two addresses are one Redis: asked of the servers, for a rolling move relies on it."""

from __future__ import annotations

from redis_pair import Pair


def test_one_server_under_two_spellings_is_the_same_and_nothing_else_is(pair: Pair) -> None:
    server = pair.servers[0]
    spelled = pair.store(server, url=server.url().replace("127.0.0.1", "localhost"))
    other_database = pair.store(server, url=server.url().rsplit("/", 1)[0] + "/3")
    assert pair.source.same_as(spelled) and spelled.same_as(pair.source)
    assert not pair.source.same_as(other_database)
    assert not pair.source.same_as(pair.target)
