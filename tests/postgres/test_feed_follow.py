"""Changes of one tenant arrive, all of them and nobody else's."""

from __future__ import annotations

from feed_sample import US, MakePair, settle


def test_every_kind_of_change_arrives(make_pair: MakePair) -> None:
    pair = make_pair()
    with pair.at_source() as conn:
        follower = pair.follower()
        conn.execute(
            "INSERT INTO docs (tenant_id, title, slug, meta, tags, m, ms, p, amount, f, n, raw, j) "
            "SELECT %s, 't' || i, 's' || i, '{\"a\": 1}', ARRAY['x', NULL, 'y,\"'], 'sad', ARRAY['glad', 'sad']::mood[], "
            "ROW(i, 'glad')::point_of, i / 7.0, i / 3.0, i, '\\x00ff', '{\"b\":  2}' FROM generate_series(1, 50) i",
            (US,),
        )
        settle(follower)
        assert pair.rows(pair.target)["public.docs"] == pair.rows(pair.source)["public.docs"] != []
        conn.execute("UPDATE docs SET title = title || '!', n = NULL WHERE n % 2 = 0")
        conn.execute("DELETE FROM docs WHERE n % 3 = 0")
        settle(follower)
    assert pair.rows(pair.target)["public.docs"] == pair.rows(pair.source)["public.docs"]
