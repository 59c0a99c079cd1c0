-- Our objects in every data database. Written to be run again at any time.
CREATE SCHEMA IF NOT EXISTS tenant_lifecycle;

-- Who may write for a tenant here. ACTIVE: this database is the writer. FENCED: writes wait until the
-- deadline (on this database's clock), then the fence is over by itself. MOVED: refused with TL001, the
-- writer is `target`, or nobody any more if there is none (a tombstone). STANDBY: refused with TL001, this side
-- is being filled. No row: not managed, writes go.
CREATE TABLE IF NOT EXISTS tenant_lifecycle.fence (
    tenant      text PRIMARY KEY,
    environment text NOT NULL,
    epoch       bigint NOT NULL,
    state       text NOT NULL CHECK (state IN ('ACTIVE', 'FENCED', 'MOVED', 'STANDBY')),
    deadline    timestamptz,
    target      text,
    armed_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    changed_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- While FENCED: writes do not wait, they are refused with TL005, for the tenant is in maintenance until then.
    maintenance_until timestamptz
);
-- A table from before has no such column. Asked first: adding it takes a lock that every writer would meet.
DO $$ BEGIN
    IF NOT EXISTS (SELECT FROM pg_attribute WHERE attrelid = 'tenant_lifecycle.fence'::regclass
                                              AND attname = 'maintenance_until') THEN
        ALTER TABLE tenant_lifecycle.fence ADD COLUMN maintenance_until timestamptz;
    END IF;
END $$;

-- First statement of every transaction in which we write tenant data: it refuses an old driver token
-- (rowcount 0), and because the other direction publishes this table, it marks the transaction as ours in
-- the change stream. Lanes keep parallel copy workers from queueing on one row; 'stream' is the applier's.
CREATE TABLE IF NOT EXISTS tenant_lifecycle.applied (
    feed        text NOT NULL,
    lane        text NOT NULL,
    tenant      text NOT NULL,
    token       bigint NOT NULL,
    writes      bigint NOT NULL DEFAULT 0,
    -- Position (in the source's WAL) behind the commit of the last transaction applied; NULL before the first.
    position    pg_lsn,
    applied_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (feed, lane)
);

-- A row of ours that is NOT written as ours: it proves that the reverse direction delivers.
CREATE TABLE IF NOT EXISTS tenant_lifecycle.canary (
    feed        text PRIMARY KEY,
    value       text NOT NULL
);

-- Ranges of a copy (in the target): bounds stay here and out of the journal, for a key may be personal.
CREATE TABLE IF NOT EXISTS tenant_lifecycle.copy_part (
    feed        text NOT NULL,
    part        text NOT NULL,
    schema_name text NOT NULL,
    table_name  text NOT NULL,
    bounds      jsonb NOT NULL,
    rows        bigint,
    bytes       bigint,
    done_at     timestamptz,
    PRIMARY KEY (feed, part)
);

-- Keyless tables: changes committed before this position are already in the copy.
CREATE TABLE IF NOT EXISTS tenant_lifecycle.copied_until (
    feed        text NOT NULL,
    schema_name text NOT NULL,
    table_name  text NOT NULL,
    position    pg_lsn NOT NULL,
    PRIMARY KEY (feed, schema_name, table_name)
);

-- Keys (COPY BINARY rows) to be read again from the source before the feed counts as caught up.
CREATE TABLE IF NOT EXISTS tenant_lifecycle.pending_key (
    feed        text NOT NULL,
    schema_name text NOT NULL,
    table_name  text NOT NULL,
    key         bytea NOT NULL,
    PRIMARY KEY (feed, schema_name, table_name, key)
);

-- Parents (digests of their keys) that a feed knows to have been the tenant's and to be gone: children that are
-- deleted after their parent are recognised by it.
CREATE TABLE IF NOT EXISTS tenant_lifecycle.departed (
    feed         text NOT NULL,
    schema_name  text NOT NULL,
    table_name   text NOT NULL,
    -- The parent's columns by which children refer to it, comma-separated.
    column_names text NOT NULL,
    key          bytea NOT NULL,
    PRIMARY KEY (feed, schema_name, table_name, column_names, key)
);

-- Receipts: what a step did in this database, written in the transaction that did it.
CREATE TABLE IF NOT EXISTS tenant_lifecycle.receipt (
    step_key    text PRIMARY KEY,
    token       bigint NOT NULL,
    output      jsonb NOT NULL,
    at          timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- Markers that prove what a search of this database can find: planted as a tenant's own data before its erasure,
-- erased with it, and searched for afterwards. Three bodies each: short, beside the row, and compressed.
CREATE TABLE IF NOT EXISTS tenant_lifecycle.planted (
    id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant  text NOT NULL,
    kind    text NOT NULL,
    body    text NOT NULL
);
CREATE INDEX IF NOT EXISTS planted_by_tenant ON tenant_lifecycle.planted (tenant);

-- Restored tenants beside the live one. The rows are in a schema of each preview's own, which carries our comment.
CREATE TABLE IF NOT EXISTS tenant_lifecycle.preview (
    name        text PRIMARY KEY,
    tenant      text NOT NULL,
    -- What the base says of the system it comes from.
    facts       jsonb NOT NULL,
    -- Digest of the shapes it was made in; migrations change those of its sets.
    made_as     text NOT NULL,
    -- Whether its tables have been given back the rules that migrations expect.
    ruled       boolean NOT NULL DEFAULT false,
    created_at  timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE TABLE IF NOT EXISTS tenant_lifecycle.preview_set (
    name        text NOT NULL,
    set_name    text NOT NULL,
    number      integer NOT NULL,
    -- The live table, and the one in the preview's schema.
    schema_name text NOT NULL,
    table_name  text NOT NULL,
    relation    text NOT NULL,
    shape       jsonb NOT NULL,
    -- NULL until it is loaded. The table is unlogged: after a crash of the server it is empty, and this is not.
    rows        bigint,
    PRIMARY KEY (name, set_name)
);
