-- The fence as functions of the database: who may write for a tenant here, decided next to the rows themselves.
-- Written to be run again at any time. Order is everything in this file; every comment says what would break.

-- The tenant's advisory lock: shared by every write transaction of the tenant, exclusive while we fence. 64 bits
-- under a prefix of ours, so that neither another tenant nor an advisory lock of the application meets it.
CREATE OR REPLACE FUNCTION tenant_lifecycle.lock_key(p_tenant text) RETURNS bigint
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN pg_catalog.hashtextextended(('tenant_lifecycle.fence/' OPERATOR(pg_catalog.||) p_tenant) COLLATE "C", 0);

-- Raise what tells an application that it is in the wrong place: SQLSTATE TL001, epoch and target in DETAIL.
-- Without a target nobody is the writer any more: the tenant is closed.
CREATE OR REPLACE FUNCTION tenant_lifecycle.refuse(p_tenant text, p_state text, p_epoch bigint, p_target text)
RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RAISE EXCEPTION USING
        ERRCODE = 'TL001',
        MESSAGE = CASE WHEN p_state = 'MOVED' AND p_target IS NULL
                       THEN format('tenant %s is closed: its data is being erased, or is erased', p_tenant)
                       WHEN p_state = 'MOVED' THEN format('tenant %s is moved to %s', p_tenant, p_target)
                       ELSE format('tenant %s is not active here, its writer is %s', p_tenant, p_target) END,
        DETAIL = json_build_object('epoch', p_epoch, 'target', p_target)::text,
        HINT = CASE WHEN p_state = 'MOVED' AND p_target IS NULL
                    THEN 'Nothing is written for this tenant any more, here or anywhere.'
                    ELSE 'Resolve the writer of this tenant again and repeat the transaction there.' END;
END $$;

-- Raise what tells an application that nobody writes for this tenant until a time: SQLSTATE TL005.
CREATE OR REPLACE FUNCTION tenant_lifecycle.refuse_until(p_tenant text, p_epoch bigint, p_until timestamptz)
RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    until text := to_char(p_until AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"');
BEGIN
    RAISE EXCEPTION USING
        ERRCODE = 'TL005',
        MESSAGE = format('tenant %s is in maintenance until %s', p_tenant, until),
        DETAIL = json_build_object('epoch', p_epoch, 'until', until)::text,
        HINT = 'Reads go on. Repeat the transaction later; the maintenance may end sooner, and elsewhere.';
END $$;

-- Let a write of one managed tenant pass, wait, or be refused. Runs inside the writer's transaction.
-- p_alone: false for a row that other tenants share (a person); a tenant that moved must not stop the others.
CREATE OR REPLACE FUNCTION tenant_lifecycle.guard(p_tenant text, p_alone boolean) RETURNS void
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    held boolean;
    own_snapshot boolean := pg_catalog.current_setting('transaction_isolation')
                            OPERATOR(pg_catalog.=) ANY (ARRAY['repeatable read', 'serializable']);
    fence tenant_lifecycle.fence%ROWTYPE;
BEGIN
    -- First the lock, then, in a statement of its own, the row: under READ COMMITTED only a statement that
    -- begins after the lock was granted sees what the fence committed.
    held := pg_catalog.pg_advisory_xact_lock_shared(tenant_lifecycle.lock_key(p_tenant)) IS NULL;
    LOOP
        SELECT * INTO fence FROM tenant_lifecycle.fence f WHERE f.tenant OPERATOR(pg_catalog.=) p_tenant;
        IF NOT FOUND THEN
            RETURN;
        ELSIF fence.state OPERATOR(pg_catalog.=) 'ACTIVE' THEN
            IF NOT own_snapshot THEN
                RETURN;
            END IF;
            -- The row above may be as old as the transaction. A row lock fails with 40001 if it was changed.
            PERFORM FROM tenant_lifecycle.fence f WHERE f.tenant OPERATOR(pg_catalog.=) p_tenant FOR SHARE;
            RETURN;
        ELSIF fence.state OPERATOR(pg_catalog.<>) 'FENCED' THEN
            IF p_alone THEN
                PERFORM tenant_lifecycle.refuse(p_tenant, fence.state, fence.epoch, fence.target);
            END IF;
            RETURN;
        ELSIF fence.deadline OPERATOR(pg_catalog.>) pg_catalog.clock_timestamp()
              AND fence.maintenance_until IS NOT NULL THEN
            -- A window takes minutes: nobody waits for its end, and other tenants go on with what they share.
            IF p_alone THEN
                PERFORM tenant_lifecycle.refuse_until(p_tenant, fence.epoch, fence.maintenance_until);
            END IF;
            IF own_snapshot THEN
                PERFORM tenant_lifecycle.fail_if_changed(p_tenant);
            END IF;
            RETURN;
        ELSIF fence.deadline OPERATOR(pg_catalog.>) pg_catalog.clock_timestamp() THEN
            -- The drain is over, so holding the shared lock while we wait holds up nobody.
            PERFORM pg_catalog.pg_sleep(0.001);
            IF own_snapshot THEN
                PERFORM tenant_lifecycle.fail_if_changed(p_tenant);
            END IF;
        ELSE
            -- The fence ran out. A lock on its row, kept until we commit, puts us before or after the
            -- compare-and-set of a move that is just as late: before it, the move sees the deadline gone;
            -- after it, we read MOVED here (or fail with 40001 above READ COMMITTED).
            SELECT * INTO fence FROM tenant_lifecycle.fence f
             WHERE f.tenant OPERATOR(pg_catalog.=) p_tenant FOR SHARE;
            IF NOT FOUND OR fence.state OPERATOR(pg_catalog.=) 'ACTIVE'
               OR (fence.state OPERATOR(pg_catalog.=) 'FENCED'
                   AND fence.deadline OPERATOR(pg_catalog.<=) pg_catalog.clock_timestamp()) THEN
                RETURN;
            END IF;
        END IF;
    END LOOP;
END $$;

-- For a transaction that cannot see changes: fail with 40001 as soon as the fence's row was changed. The row
-- lock that finds out (a weaker one overlooks a change of other columns than the key) is given back at once
-- with its subtransaction, so that it holds up no flip.
CREATE OR REPLACE FUNCTION tenant_lifecycle.fail_if_changed(p_tenant text) RETURNS void
LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    PERFORM FROM tenant_lifecycle.fence f WHERE f.tenant OPERATOR(pg_catalog.=) p_tenant FOR SHARE;
    RAISE EXCEPTION USING ERRCODE = 'TL003';
EXCEPTION WHEN SQLSTATE 'TL003' THEN
    RETURN;
END $$;

-- The same question, asked by an application at the start of its transaction; any role may.
CREATE OR REPLACE FUNCTION tenant_lifecycle.check_writer(p_tenant text) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM tenant_lifecycle.guard(f.tenant, true) FROM tenant_lifecycle.fence f WHERE f.tenant = p_tenant;
END $$;

-- What this database knows about where a tenant's writer is; any role may ask for a tenant it can name.
CREATE OR REPLACE FUNCTION tenant_lifecycle.whereabouts(p_tenant text)
RETURNS TABLE (state text, epoch bigint, target text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT f.state, f.epoch, f.target FROM tenant_lifecycle.fence f WHERE f.tenant = p_tenant;
END;

-- Sessions (and prepared transactions) that hold the tenant's lock, one sentence each.
CREATE OR REPLACE FUNCTION tenant_lifecycle.holders(p_tenant text, p_older_than_s float8) RETURNS SETOF text
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
    SELECT CASE WHEN l.pid IS NULL THEN 'a prepared transaction holds the tenant''s lock'
                ELSE format('pid %s (%s) holds the tenant''s lock, %s, in a transaction of %s s', l.pid,
                            coalesce(nullif(a.application_name, ''), 'no application name'),
                            coalesce(a.state, 'state hidden'),
                            coalesce(round(extract(epoch FROM clock_timestamp() - a.xact_start), 1)::text, '?'))
           END
      FROM pg_locks l LEFT JOIN pg_stat_activity a ON a.pid = l.pid
     WHERE l.locktype = 'advisory' AND l.objsubid = 1 AND l.granted
       AND l.database = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database())
       AND (l.classid::bigint << 32 | l.objid::bigint) = tenant_lifecycle.lock_key(p_tenant)
       AND l.pid IS DISTINCT FROM pg_backend_pid()
       AND coalesce(a.xact_start <= clock_timestamp() - make_interval(secs => p_older_than_s), true)
     ORDER BY a.xact_start
$$;

-- Transactions that may have written before the fence was armed, or whose snapshot is older than its row: the
-- fence cannot see them, so nothing may be fenced before they end. Ours never write as an application.
CREATE OR REPLACE FUNCTION tenant_lifecycle.older_transactions(p_armed_at timestamptz) RETURNS SETOF text
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
    SELECT format('pid %s (%s) runs a transaction from before the fence was armed, %s, of %s s', a.pid,
                  coalesce(nullif(a.application_name, ''), 'no application name'), a.state,
                  round(extract(epoch FROM clock_timestamp() - a.xact_start), 1))
      FROM pg_stat_activity a
     WHERE a.datname = current_database() AND a.backend_type = 'client backend'
       AND a.pid <> pg_backend_pid() AND a.xact_start <= p_armed_at
       AND a.application_name NOT LIKE 'tenant-lifecycle%'
     ORDER BY a.xact_start
$$;

-- ACTIVE -> FENCED. Outcome FENCED, or STATE, OLDER, BUSY with a sentence that says which or who.
-- The ticket names this fencing: its deadline, which no other has. A driver that slept through the end of its
-- own fencing must not commit under the next one, whose writers it has not waited for.
-- Waits for writers in flight, at most the budget, and never in the lock's queue for more than 20 ms at a
-- time: whoever comes while we queue has to queue behind us.
-- p_for_s: hold writes for a window of so many seconds; writers are refused, and no renewal goes beyond it.
-- p_ticket: FENCED by this ticket for a window -> FENCED for a flip: who passed because of rows that tenants share
-- is drained, and from then on everybody waits. Without success nothing changes, and the window goes on.
DROP FUNCTION IF EXISTS tenant_lifecycle.fence_tenant(text, bigint, float8, float8);
CREATE OR REPLACE FUNCTION tenant_lifecycle.fence_tenant(
    p_tenant text, p_epoch bigint, p_ttl_s float8, p_budget_s float8,
    p_for_s float8 DEFAULT NULL, p_ticket timestamptz DEFAULT NULL,
    OUT outcome text, OUT detail text, OUT ticket timestamptz)
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    key bigint := tenant_lifecycle.lock_key(p_tenant);
    began timestamptz := clock_timestamp();
    give_up timestamptz := began + make_interval(secs => p_budget_s);
    got boolean;
    fence tenant_lifecycle.fence%ROWTYPE;
BEGIN
    SELECT * INTO fence FROM tenant_lifecycle.fence f WHERE f.tenant = p_tenant;
    outcome := 'STATE';
    IF NOT FOUND THEN
        detail := 'not managed';
    ELSIF fence.epoch <> p_epoch OR fence.state IN ('MOVED', 'STANDBY')
          OR (fence.deadline > began AND fence.deadline IS DISTINCT FROM p_ticket)
          OR (p_ticket IS NOT NULL AND coalesce(fence.deadline <= began, true)) THEN
        detail := format('%s at epoch %s', fence.state, fence.epoch);
    END IF;
    IF detail IS NOT NULL THEN
        RETURN;
    END IF;
    detail := string_agg(older, '; ') FROM tenant_lifecycle.older_transactions(fence.armed_at) older;
    IF detail IS NOT NULL THEN
        outcome := 'OLDER';
        RETURN;
    END IF;
    LOOP
        got := pg_try_advisory_xact_lock(key);
        EXIT WHEN got OR clock_timestamp() > least(give_up, began + interval '5 ms');
        PERFORM pg_sleep(0.0005);
    END LOOP;
    WHILE NOT got AND clock_timestamp() < give_up LOOP
        BEGIN
            PERFORM set_config('lock_timeout', '20ms', true);
            PERFORM pg_advisory_xact_lock(key);
            got := true;
        EXCEPTION WHEN lock_not_available OR deadlock_detected THEN
            PERFORM pg_sleep(0.005);
        END;
    END LOOP;
    IF NOT got THEN
        outcome := 'BUSY';
        detail := string_agg(holder, '; ') FROM tenant_lifecycle.holders(p_tenant, 0) holder;
        RETURN;
    END IF;
    -- A fence that ran out is over: it may be put up again. Whoever passed it was drained by the lock.
    UPDATE tenant_lifecycle.fence f
       SET state = 'FENCED', changed_at = clock_timestamp(),
           deadline = least(clock_timestamp() + make_interval(secs => p_ttl_s),
                            CASE WHEN p_ticket IS NOT NULL THEN f.maintenance_until END),
           maintenance_until = clock_timestamp() + make_interval(secs => p_for_s)
     WHERE f.tenant = p_tenant AND f.epoch = p_epoch
       AND CASE WHEN p_ticket IS NULL
           THEN f.state = 'ACTIVE' OR (f.state = 'FENCED' AND f.deadline <= clock_timestamp())
           ELSE f.state = 'FENCED' AND f.deadline = p_ticket AND f.deadline > clock_timestamp() END
    RETURNING f.deadline INTO ticket;
    IF FOUND THEN
        outcome := 'FENCED';
        RETURN;
    END IF;
    outcome := 'STATE';
    SELECT format('%s at epoch %s', f.state, f.epoch) INTO detail
      FROM tenant_lifecycle.fence f WHERE f.tenant = p_tenant;
END $$;

-- Keep a fencing up: a later deadline under a new ticket, if the fencing is still this one and has not run out. A
-- renewal is the same fencing: there was no moment at which a writer could pass. NULL: it was lost, or the row was
-- not free. p_for_s: the window again after a flip that was given up; else the window's end stays where it is.
CREATE OR REPLACE FUNCTION tenant_lifecycle.renew_fence(
    p_tenant text, p_ticket timestamptz, p_ttl_s float8, p_for_s float8)
RETURNS timestamptz LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    fence tenant_lifecycle.fence%ROWTYPE;
BEGIN
    PERFORM set_config('lock_timeout', '200ms', true);
    BEGIN
        SELECT * INTO fence FROM tenant_lifecycle.fence f WHERE f.tenant = p_tenant FOR NO KEY UPDATE;
    EXCEPTION WHEN lock_not_available THEN
        RETURN NULL;
    END;
    -- As in commit_move, the clock is read after the lock was granted.
    IF fence.state IS DISTINCT FROM 'FENCED' OR fence.deadline IS DISTINCT FROM p_ticket
       OR fence.deadline <= clock_timestamp() THEN
        RETURN NULL;
    END IF;
    fence.maintenance_until := coalesce(clock_timestamp() + make_interval(secs => p_for_s), fence.maintenance_until);
    fence.deadline := least(clock_timestamp() + make_interval(secs => p_ttl_s), fence.maintenance_until);
    UPDATE tenant_lifecycle.fence f
       SET deadline = fence.deadline, maintenance_until = fence.maintenance_until
     WHERE f.tenant = p_tenant;
    RETURN fence.deadline;
END $$;

-- FENCED -> ACTIVE. Writers that passed a fence which ran out hold its row; drain them as a fence would, for
-- row locks have no queue and a busy tenant would keep us waiting for ever. False: not free within 1 s.
-- p_ticket NULL: whichever fencing it is.
CREATE OR REPLACE FUNCTION tenant_lifecycle.release_tenant(p_tenant text, p_ticket timestamptz) RETURNS boolean
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    give_up timestamptz := clock_timestamp() + interval '1 s';
BEGIN
    WHILE clock_timestamp() < give_up LOOP
        BEGIN
            IF EXISTS (SELECT FROM tenant_lifecycle.fence f WHERE f.tenant = p_tenant AND f.state = 'FENCED'
                                                              AND f.deadline <= clock_timestamp()) THEN
                PERFORM set_config('lock_timeout', '20ms', true);
                PERFORM pg_advisory_xact_lock(tenant_lifecycle.lock_key(p_tenant));
            END IF;
            PERFORM set_config('lock_timeout', '50ms', true);
            UPDATE tenant_lifecycle.fence f
               SET state = 'ACTIVE', deadline = NULL, maintenance_until = NULL, changed_at = clock_timestamp()
             WHERE f.tenant = p_tenant AND f.state = 'FENCED' AND f.deadline = coalesce(p_ticket, f.deadline);
            RETURN true;
        EXCEPTION WHEN lock_not_available OR deadlock_detected THEN
            PERFORM pg_sleep(0.005);
        END;
    END LOOP;
    RETURN false;
END $$;

-- Tell clients that listen that a tenant's writer changed: its lock key, never its id, which every role could
-- hear. Who does not listen learns it from the refusal of its next write.
CREATE OR REPLACE FUNCTION tenant_lifecycle.push_route(p_tenant text) RETURNS void
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
    SELECT pg_notify('tenant_lifecycle.routes', tenant_lifecycle.lock_key(p_tenant)::text)
$$;

-- The commit point: FENCED by this ticket -> MOVED at the next epoch.
CREATE OR REPLACE FUNCTION tenant_lifecycle.commit_move(p_tenant text, p_ticket timestamptz, p_target text)
RETURNS boolean LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    fence tenant_lifecycle.fence%ROWTYPE;
BEGIN
    -- An application may run with synchronous_commit off; a move that a crash forgets makes two writers.
    IF current_setting('synchronous_commit') IN ('off', 'local') THEN
        PERFORM set_config('synchronous_commit', 'on', true);
    END IF;
    -- Only writers that saw the deadline gone hold the row (FOR SHARE), so a long wait can only end in false.
    PERFORM set_config('lock_timeout', '1s', true);
    BEGIN
        SELECT * INTO fence FROM tenant_lifecycle.fence f WHERE f.tenant = p_tenant FOR NO KEY UPDATE;
    EXCEPTION WHEN lock_not_available THEN
        RETURN false;
    END;
    -- The clock is read after the lock was granted. Read before, a writer that passed the expired fence while
    -- we waited for the row would be lost.
    IF fence.state IS DISTINCT FROM 'FENCED' OR fence.deadline IS DISTINCT FROM p_ticket
       OR fence.deadline <= clock_timestamp() THEN
        RETURN false;
    END IF;
    UPDATE tenant_lifecycle.fence f
       SET state = 'MOVED', epoch = fence.epoch + 1, target = p_target, deadline = NULL,
           maintenance_until = NULL, changed_at = clock_timestamp()
     WHERE f.tenant = p_tenant;
    PERFORM tenant_lifecycle.push_route(p_tenant);
    RETURN true;
END $$;

-- STANDBY or MOVED below p_epoch -> ACTIVE. NULL: done (or done before); else what the row says.
CREATE OR REPLACE FUNCTION tenant_lifecycle.activate(p_tenant text, p_epoch bigint) RETURNS text
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    seen text;
BEGIN
    IF current_setting('synchronous_commit') IN ('off', 'local') THEN
        PERFORM set_config('synchronous_commit', 'on', true);
    END IF;
    UPDATE tenant_lifecycle.fence f
       SET state = 'ACTIVE', epoch = p_epoch, target = NULL, deadline = NULL, changed_at = clock_timestamp()
     WHERE f.tenant = p_tenant AND f.epoch < p_epoch AND f.state IN ('STANDBY', 'MOVED');
    IF NOT FOUND THEN
        SELECT format('%s at epoch %s', f.state, f.epoch) INTO seen
          FROM tenant_lifecycle.fence f WHERE f.tenant = p_tenant;
        IF NOT FOUND THEN
            RETURN 'not managed';
        ELSIF seen NOT IN (format('ACTIVE at epoch %s', p_epoch), format('FENCED at epoch %s', p_epoch)) THEN
            RETURN seen;
        END IF;
    END IF;
    PERFORM tenant_lifecycle.push_route(p_tenant);
    RETURN NULL;
END $$;

GRANT USAGE ON SCHEMA tenant_lifecycle TO PUBLIC;
REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA tenant_lifecycle FROM PUBLIC;
GRANT EXECUTE ON FUNCTION tenant_lifecycle.check_writer(text), tenant_lifecycle.whereabouts(text) TO PUBLIC;
