-- Body of the function behind a table's fence triggers; braces are filled in from the ownership map.
-- A statement that touches nobody who is managed here costs one look into a tiny table and takes no lock.
DECLARE
    managed text[];
    changed text[];
    one record;
BEGIN
    IF TG_OP = 'INSERT' THEN
        PERFORM tenant_lifecycle.guard(f.tenant, o.alone)
           FROM ({inserted}) o JOIN tenant_lifecycle.fence f ON f.tenant = o.owner;
    ELSIF TG_OP = 'DELETE' THEN
        PERFORM tenant_lifecycle.guard(f.tenant, o.alone)
           FROM ({deleted}) o JOIN tenant_lifecycle.fence f ON f.tenant = o.owner;
    ELSIF TG_OP = 'UPDATE' THEN
        FOR one IN
            SELECT f.tenant, bool_or(o.alone) AS alone, sum(o.rows) AS balance
              FROM (SELECT owner, alone, rows FROM ({inserted}) i
                    UNION ALL SELECT owner, alone, -rows FROM ({deleted}) d) o
              JOIN tenant_lifecycle.fence f ON f.tenant = o.owner
             GROUP BY f.tenant
        LOOP
            managed := managed || one.tenant;
            IF one.balance <> 0 THEN
                changed := changed || one.tenant;
            END IF;
            PERFORM tenant_lifecycle.guard(one.tenant, one.alone);
        END LOOP;
        IF changed IS NOT NULL THEN
            -- Rows went to another owner: the move must notice, for children of theirs moved without a write.
            PERFORM pg_logical_emit_message(true, 'tenant_lifecycle.rehome',
                        json_build_object('tenants', changed, 'table', {table_text})::text);
        END IF;
    ELSE
        -- TRUNCATE goes on beside tenants whose writer is here (a feed that sees it stops), but it must not
        -- take away rows whose writer is elsewhere: they are the other side's copy, or its way back.
        FOR one IN SELECT f.tenant, f.state FROM tenant_lifecycle.fence f WHERE {may_own} LOOP
            IF one.state IN ('ACTIVE', 'FENCED') THEN
                PERFORM tenant_lifecycle.guard(one.tenant, true);
            ELSIF EXISTS (SELECT FROM {table} t CROSS JOIN LATERAL ({owners}) o WHERE o.owner = one.tenant) THEN
                RAISE EXCEPTION USING
                    ERRCODE = 'TL002',
                    MESSAGE = format('TRUNCATE of %s would take rows of tenant %s, whose writer is elsewhere',
                                     {table_text}, one.tenant),
                    HINT = 'Delete the other tenants'' rows instead, or end the tenant''s move first.';
            END IF;
        END LOOP;
    END IF;
    RETURN NULL;
END
