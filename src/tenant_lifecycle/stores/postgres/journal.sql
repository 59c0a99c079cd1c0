-- The journal of touched keys: which keys of the stores beside this database applications said they would write.
-- Written to be run again at any time; runs after fence.sql, whose guard and grants it builds on.

-- Feeds that want entries. Survives a crash, so that applications go on entering keys.
CREATE TABLE IF NOT EXISTS tenant_lifecycle.journaled (
    feed        text PRIMARY KEY,
    tenant      text NOT NULL,
    token       bigint NOT NULL,
    -- When no transaction ran any more that does not enter its keys; NULL: not yet. Such as these never come
    -- back, unless the fence's row was taken away and made anew in between.
    drained_at  timestamptz
);

-- Numbers of entries: milliseconds, then a counter. A crash may set the sequence back, and a driver that drops
-- what it carried over before the crash must not drop what was entered after it.
CREATE SEQUENCE IF NOT EXISTS tenant_lifecycle.touched_seq MAXVALUE 4194303 CYCLE;
CREATE OR REPLACE FUNCTION tenant_lifecycle.next_seq() RETURNS bigint
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp
RETURN ((extract(epoch FROM clock_timestamp()) * 1000)::bigint << 22) + nextval('tenant_lifecycle.touched_seq');

-- Entries, one for each feed. A crash empties the table (and `journal_life`, which is how one notices).
CREATE UNLOGGED TABLE IF NOT EXISTS tenant_lifecycle.touched (
    feed        text NOT NULL,
    store       text NOT NULL,
    seq         bigint NOT NULL UNIQUE DEFAULT tenant_lifecycle.next_seq(),
    key         bytea NOT NULL,
    -- The transaction in which the application writes the key; NULL: none, or it ended in an orderly way.
    holder      xid8,
    -- Open until then whatever the holder does: a request of unknown outcome may still be under way.
    open_until  timestamptz,
    at          timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (feed, store, seq)
);
CREATE UNLOGGED TABLE IF NOT EXISTS tenant_lifecycle.journal_life (
    one     boolean PRIMARY KEY DEFAULT true CHECK (one),
    life    uuid NOT NULL DEFAULT gen_random_uuid()
);

-- Ids of the tenant's rows that keys of other stores are made of, or that name such keys, as they were seen while
-- a feed was journaled. A key of a row that was deleted is still the tenant's.
CREATE TABLE IF NOT EXISTS tenant_lifecycle.known_id (
    tenant      text NOT NULL,
    schema_name text NOT NULL,
    table_name  text NOT NULL,
    column_name text NOT NULL,
    value       text NOT NULL
);
-- No unique index: a value may be longer than an index takes. Twice the same does no harm.
CREATE INDEX IF NOT EXISTS known_id_tenant ON tenant_lifecycle.known_id (tenant);

-- How long a request may be under way in a store after nobody waits for its answer any more.
CREATE OR REPLACE FUNCTION tenant_lifecycle.quarantine() RETURNS interval
LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN interval '15 s';

-- Begin a block of an application: the fence's question, and what the block owes to the journal. A tenant that
-- is not managed has no fence row and takes no lock: epoch 0.
CREATE OR REPLACE FUNCTION tenant_lifecycle.enter(
    p_tenant text, OUT epoch bigint, OUT journaling boolean, OUT holder xid8, OUT feeds text[])
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    epoch := 0;
    journaling := false;
    PERFORM tenant_lifecycle.guard(f.tenant, true) FROM tenant_lifecycle.fence f WHERE f.tenant = p_tenant;
    -- Not asked again: a row that appeared after the first look was not guarded. Whoever armed it waits for us.
    IF NOT FOUND THEN
        RETURN;
    END IF;
    -- In a statement of its own, begun after the lock was granted: it sees what `announce` committed before
    -- `drained` had the lock. Above READ COMMITTED the guard locked the fence's row, which `announce` changes:
    -- had it done so after our snapshot, that would have failed with 40001.
    SELECT f.epoch, coalesce((SELECT array_agg(j.feed) FROM tenant_lifecycle.journaled j
                               WHERE j.tenant = p_tenant), '{}')
      INTO epoch, feeds FROM tenant_lifecycle.fence f WHERE f.tenant = p_tenant;
    epoch := coalesce(epoch, 0);
    journaling := coalesce(cardinality(feeds) > 0, false);
    IF journaling THEN
        holder := pg_current_xact_id();
    END IF;
END $$;

-- Enter keys that the transaction p_holder is about to write. Called on another connection, and committed
-- before the write. Refused if that transaction does not run (any more): it does not hold the tenant's lock.
CREATE OR REPLACE FUNCTION tenant_lifecycle.touch(p_tenant text, p_store text, p_keys bytea[], p_holder xid8)
RETURNS void LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF pg_xact_status(p_holder) IS DISTINCT FROM 'in progress' THEN
        RAISE EXCEPTION USING ERRCODE = 'TL004', MESSAGE = 'the transaction of this block has ended';
    END IF;
    INSERT INTO tenant_lifecycle.touched (feed, store, key, holder)
    SELECT j.feed, p_store, k.key, p_holder
      FROM tenant_lifecycle.journaled j, unnest(p_keys) k(key) WHERE j.tenant = p_tenant;
    PERFORM pg_notify(tenant_lifecycle.touched_channel(p_tenant), '');
END $$;

-- Enter keys of which a request of unknown outcome may still be under way; open for the quarantine.
CREATE OR REPLACE FUNCTION tenant_lifecycle.hold(p_tenant text, p_store text, p_keys bytea[])
RETURNS void LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    INSERT INTO tenant_lifecycle.touched (feed, store, key, open_until)
    SELECT j.feed, p_store, k.key, clock_timestamp() + tenant_lifecycle.quarantine()
      FROM tenant_lifecycle.journaled j, unnest(p_keys) k(key) WHERE j.tenant = p_tenant;
$$;

-- The transaction p_holder was rolled back by a client that knows its requests to be answered: its entries
-- need not wait for the quarantine.
CREATE OR REPLACE FUNCTION tenant_lifecycle.settle(p_tenant text, p_holder xid8) RETURNS void
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    UPDATE tenant_lifecycle.touched t SET holder = NULL
      FROM tenant_lifecycle.journaled j
     WHERE j.tenant = p_tenant AND t.feed = j.feed AND t.holder = p_holder;
$$;

-- The name is the tenant's lock key, never its id: channels can be seen by every role.
CREATE OR REPLACE FUNCTION tenant_lifecycle.touched_channel(p_tenant text) RETURNS text
LANGUAGE sql IMMUTABLE STRICT SET search_path = pg_catalog, pg_temp
RETURN 'tenant_lifecycle.touched.' || tenant_lifecycle.lock_key(p_tenant);

-- The oldest entries of one store, and whether each is open: its transaction runs, or ended in a way that
-- tells nothing about its requests (killed, cut off). A transaction too old to be known has long ended.
CREATE OR REPLACE FUNCTION tenant_lifecycle.read_touched(p_feed text, p_store text, p_limit int)
RETURNS TABLE (seq bigint, key bytea, open boolean, age_s float8)
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
    SELECT t.seq, t.key,
           coalesce(t.open_until > clock_timestamp(), false)
           OR CASE pg_xact_status(t.holder)
              WHEN 'in progress' THEN true
              WHEN 'aborted' THEN t.at + tenant_lifecycle.quarantine() > clock_timestamp()
              ELSE false END,
           extract(epoch FROM clock_timestamp() - t.at)::float8
      FROM tenant_lifecycle.touched t
     WHERE t.feed = p_feed AND t.store = p_store
     ORDER BY t.seq LIMIT p_limit
$$;

-- Forget entries. False: a newer driver was here, or the journal is closed; nothing was forgotten.
CREATE OR REPLACE FUNCTION tenant_lifecycle.drop_touched(p_feed text, p_token bigint, p_seqs bigint[])
RETURNS boolean LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    UPDATE tenant_lifecycle.journaled SET token = p_token WHERE feed = p_feed AND token < p_token;
    PERFORM FROM tenant_lifecycle.journaled j WHERE j.feed = p_feed AND j.token <= p_token FOR SHARE;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    DELETE FROM tenant_lifecycle.touched t WHERE t.feed = p_feed AND t.seq = ANY (p_seqs);
    RETURN true;
END $$;

-- Make it known that a feed wants entries; commit this before `drained`. NULL: done, or done before; else
-- UNMANAGED (no fence row: nobody asks before writing), FENCED (newer driver), or BUSY (see `release_tenant`).
CREATE OR REPLACE FUNCTION tenant_lifecycle.announce(p_tenant text, p_feed text, p_token bigint) RETURNS text
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    give_up timestamptz := clock_timestamp() + interval '2 s';
BEGIN
    IF current_setting('synchronous_commit') IN ('off', 'local') THEN
        PERFORM set_config('synchronous_commit', 'on', true);
    END IF;
    WHILE clock_timestamp() < give_up LOOP
        BEGIN
            PERFORM set_config('lock_timeout', '50ms', true);
            UPDATE tenant_lifecycle.journaled j SET token = p_token WHERE j.feed = p_feed AND j.token <= p_token;
            IF FOUND THEN
                RETURN NULL;
            ELSIF EXISTS (SELECT FROM tenant_lifecycle.journaled j WHERE j.feed = p_feed) THEN
                RETURN 'FENCED';
            END IF;
            -- The row is changed to nothing new so that older snapshots fail at it; see `enter`.
            UPDATE tenant_lifecycle.fence f SET changed_at = f.changed_at WHERE f.tenant = p_tenant;
            IF NOT FOUND THEN
                RETURN 'UNMANAGED';
            END IF;
            INSERT INTO tenant_lifecycle.journaled (feed, tenant, token) VALUES (p_feed, p_tenant, p_token);
            RETURN NULL;
        EXCEPTION WHEN lock_not_available OR deadlock_detected OR unique_violation THEN
            PERFORM pg_sleep(0.005);
        END;
    END LOOP;
    RETURN 'BUSY';
END $$;

-- Whether the tenant's lock could be had once, exclusively, within the budget: every transaction of the tenant
-- that began its block before this call has ended. Given back at once; never queues for more than 20 ms, for
-- whoever comes while we queue has to queue behind us.
CREATE OR REPLACE FUNCTION tenant_lifecycle.drained(p_tenant text, p_budget_s float8) RETURNS boolean
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    key bigint := tenant_lifecycle.lock_key(p_tenant);
    give_up timestamptz := clock_timestamp() + make_interval(secs => p_budget_s);
BEGIN
    IF pg_try_advisory_xact_lock(key) THEN
        RETURN true;
    END IF;
    WHILE clock_timestamp() < give_up LOOP
        BEGIN
            PERFORM set_config('lock_timeout', '20ms', true);
            PERFORM pg_advisory_xact_lock(key);
            RETURN true;
        EXCEPTION WHEN lock_not_available OR deadlock_detected THEN
            PERFORM pg_sleep(0.005);
        END;
    END LOOP;
    RETURN false;
END $$;

-- How far each feed of the tenant has come into this database; NULL: it copies, and does not follow yet.
CREATE OR REPLACE FUNCTION tenant_lifecycle.reached(p_tenant text) RETURNS TABLE (feed text, "position" pg_lsn)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT a.feed, max(a.position) FILTER (WHERE a.lane = 'stream')
      FROM tenant_lifecycle.applied a WHERE a.tenant = p_tenant GROUP BY a.feed;
END;

-- A position behind everything committed so far, and a note in the stream that makes these feeds write it down
-- on the other side as soon as they get there. Without the note they would only at the tenant's next write.
CREATE OR REPLACE FUNCTION tenant_lifecycle.behind(p_feeds text[]) RETURNS pg_lsn
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    behind pg_lsn := pg_current_wal_insert_lsn();
    feed text;
BEGIN
    FOREACH feed IN ARRAY p_feeds LOOP
        PERFORM pg_logical_emit_message(false, 'tenant_lifecycle.reached', feed);
    END LOOP;
    RETURN behind;
END $$;

REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA tenant_lifecycle FROM PUBLIC;
GRANT EXECUTE ON FUNCTION
    tenant_lifecycle.check_writer(text), tenant_lifecycle.whereabouts(text), tenant_lifecycle.enter(text),
    tenant_lifecycle.touch(text, text, bytea[], xid8), tenant_lifecycle.hold(text, text, bytea[]),
    tenant_lifecycle.settle(text, xid8), tenant_lifecycle.reached(text), tenant_lifecycle.behind(text[]),
    tenant_lifecycle.lock_key(text) TO PUBLIC;
