-- name: relations
-- The named tables with their partitions.
SELECT c.oid::int8 AS oid, rn.nspname AS root_schema, rc.relname AS root_name, n.nspname AS schema, c.relname AS name,
       pn.nspname AS parent_schema, pc.relname AS parent_name, c.relkind::text AS kind,
       CASE WHEN c.relkind = 'p' THEN pg_get_partkeydef(c.oid) END AS partition_key,
       pg_get_expr(c.relpartbound, c.oid) AS bound, c.relrowsecurity AS row_security,
       c.relforcerowsecurity AS force_row_security, c.relreplident::text AS replica_identity,
       (SELECT ic.relname::text FROM pg_index i JOIN pg_class ic ON ic.oid = i.indexrelid
         WHERE i.indrelid = c.oid AND i.indisreplident) AS identity_index,
       pg_get_userbyid(c.relowner)::text AS owner, coalesce(c.reloptions, '{}') AS options
  FROM pg_class rc JOIN pg_namespace rn ON rn.oid = rc.relnamespace
  JOIN unnest(%(schemas)s::text[], %(names)s::text[]) wanted(s, t) ON wanted.s = rn.nspname AND wanted.t = rc.relname
  LEFT JOIN LATERAL pg_partition_tree(rc.oid) tree ON rc.relkind = 'p'
  JOIN pg_class c ON c.oid = coalesce(tree.relid, rc.oid) JOIN pg_namespace n ON n.oid = c.relnamespace
  LEFT JOIN pg_class pc ON pc.oid = tree.parentrelid LEFT JOIN pg_namespace pn ON pn.oid = pc.relnamespace
 WHERE rc.relkind IN ('r', 'p') ORDER BY coalesce(tree.level, 0), n.nspname, c.relname

-- name: columns
SELECT a.attrelid::int8 AS oid, a.attname::text AS name, format_type(a.atttypid, a.atttypmod) AS type,
       a.attnotnull AS not_null, pg_get_expr(ad.adbin, ad.adrelid) AS expression, a.attgenerated::text AS generated,
       a.attidentity::text AS identity,
       CASE WHEN a.attidentity <> '' THEN (SELECT format('START WITH %%s INCREMENT BY %%s MINVALUE %%s MAXVALUE %%s CACHE %%s%%s',
               s.seqstart, s.seqincrement, s.seqmin, s.seqmax, s.seqcache, CASE WHEN s.seqcycle THEN ' CYCLE' ELSE '' END)
               FROM pg_sequence s JOIN pg_depend d ON d.objid = s.seqrelid AND d.classid = 'pg_class'::regclass
              WHERE d.refclassid = 'pg_class'::regclass AND d.refobjid = a.attrelid AND d.refobjsubid = a.attnum
                AND d.deptype = 'i') END AS identity_options,
       CASE WHEN a.attcollation <> ty.typcollation THEN (SELECT format('%%I.%%I', cn.nspname, co.collname)
               FROM pg_collation co JOIN pg_namespace cn ON cn.oid = co.collnamespace WHERE co.oid = a.attcollation) END
           AS collation
  FROM pg_attribute a JOIN pg_type ty ON ty.oid = a.atttypid
  LEFT JOIN pg_attrdef ad ON ad.adrelid = a.attrelid AND ad.adnum = a.attnum
 WHERE a.attrelid = ANY (%(oids)s) AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attrelid, a.attnum

-- name: constraints
SELECT c.conrelid::int8 AS oid, c.conname::text AS name, c.contype::text AS kind, pg_get_constraintdef(c.oid) AS definition,
       rn.nspname AS refers_schema, rc.relname AS refers_name
  FROM pg_constraint c LEFT JOIN pg_class rc ON rc.oid = c.confrelid LEFT JOIN pg_namespace rn ON rn.oid = rc.relnamespace
 WHERE c.conrelid = ANY (%(oids)s) AND c.contype IN ('p', 'u', 'x', 'c', 'f') AND c.conparentid = 0 AND c.coninhcount = 0
 ORDER BY c.conrelid, c.contype, c.conname

-- name: indexes
SELECT i.indrelid::int8 AS oid, ic.relname::text AS name, i.indisunique AS is_unique,
       format('CREATE %%sINDEX %%I ON ', CASE WHEN i.indisunique THEN 'UNIQUE ' ELSE '' END, ic.relname) AS head,
       CASE WHEN ic.relkind = 'I' THEN 'ONLY ' ELSE '' END AS only, format('%%I.%%I ', n.nspname, c.relname) AS place,
       pg_get_indexdef(i.indexrelid) AS definition
  FROM pg_index i JOIN pg_class ic ON ic.oid = i.indexrelid JOIN pg_class c ON c.oid = i.indrelid
  JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE i.indrelid = ANY (%(oids)s) AND i.indisvalid AND NOT ic.relispartition
   AND NOT EXISTS (SELECT FROM pg_constraint k WHERE k.conindid = i.indexrelid AND k.contype IN ('p', 'u', 'x'))
 ORDER BY i.indrelid, ic.relname

-- name: policies
SELECT p.polrelid::int8 AS oid, p.polname::text AS name, p.polpermissive AS permissive,
       CASE p.polcmd WHEN 'r' THEN 'SELECT' WHEN 'a' THEN 'INSERT' WHEN 'w' THEN 'UPDATE' WHEN 'd' THEN 'DELETE'
                     ELSE 'ALL' END AS command,
       (SELECT array_agg(CASE r WHEN 0 THEN 'public' ELSE pg_get_userbyid(r)::text END ORDER BY 1) FROM unnest(p.polroles) r)
           AS roles,
       pg_get_expr(p.polqual, p.polrelid) AS using, pg_get_expr(p.polwithcheck, p.polrelid) AS check
  FROM pg_policy p WHERE p.polrelid = ANY (%(oids)s) ORDER BY p.polrelid, p.polname

-- name: triggers
SELECT t.tgrelid::int8 AS oid, t.tgname::text AS name, t.tgenabled::text AS enabled
  FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid JOIN pg_namespace n ON n.oid = p.pronamespace
 WHERE t.tgrelid = ANY (%(oids)s) AND NOT t.tgisinternal AND t.tgparentid = 0 AND n.nspname <> 'tenant_lifecycle'
 ORDER BY t.tgrelid, t.tgname

-- name: grants
SELECT c.oid::int8 AS oid, CASE WHEN acl.grantee <> 0 THEN pg_get_userbyid(acl.grantee)::text END AS role,
       acl.privilege_type AS privilege, acl.is_grantable AS grantable
  FROM pg_class c, aclexplode(c.relacl) acl
 WHERE c.oid = ANY (%(oids)s) AND acl.grantee <> c.relowner ORDER BY c.oid, 2, 3

-- name: types
-- Types of the application's own, through arrays, domains, composites and ranges.
WITH RECURSIVE used AS (
    SELECT oid FROM (
        SELECT atttypid AS oid FROM pg_attribute WHERE attrelid = ANY (%(oids)s) AND attnum > 0 AND NOT attisdropped
        UNION SELECT t.oid FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace
          JOIN unnest(%(type_schemas)s::text[], %(type_names)s::text[]) wanted(s, t) ON wanted.s = n.nspname AND wanted.t = t.typname
    ) first
    UNION
    SELECT inside.oid FROM used u JOIN pg_type t ON t.oid = u.oid CROSS JOIN LATERAL (
        SELECT t.typbasetype AS oid WHERE t.typtype = 'd'
        UNION ALL SELECT t.typelem WHERE t.typelem <> 0
        UNION ALL SELECT r.rngsubtype FROM pg_range r WHERE r.rngtypid = t.oid
        UNION ALL SELECT r.rngtypid FROM pg_range r WHERE r.rngmultitypid = t.oid
        UNION ALL SELECT a.atttypid FROM pg_attribute a WHERE t.typtype = 'c' AND a.attrelid = t.typrelid
                     AND a.attnum > 0 AND NOT a.attisdropped) inside)
SELECT t.oid::int8 AS oid, n.nspname AS schema, t.typname AS name, t.typtype::text AS kind,
       coalesce((SELECT array_agg(e.enumlabel::text ORDER BY e.enumsortorder) FROM pg_enum e WHERE e.enumtypid = t.oid),
                '{}') AS labels,
       CASE t.typtype
         WHEN 'd' THEN format_type(t.typbasetype, t.typtypmod)
              || coalesce((SELECT format(' COLLATE %%I.%%I', cn.nspname, co.collname) FROM pg_collation co
                             JOIN pg_namespace cn ON cn.oid = co.collnamespace JOIN pg_type b ON b.oid = t.typbasetype
                            WHERE co.oid = t.typcollation AND t.typcollation <> b.typcollation), '')
              || coalesce(' DEFAULT ' || t.typdefault, '') || CASE WHEN t.typnotnull THEN ' NOT NULL' ELSE '' END
         WHEN 'c' THEN (SELECT string_agg(format('%%I %%s', a.attname, format_type(a.atttypid, a.atttypmod)), ', ' ORDER BY a.attnum)
                          FROM pg_attribute a WHERE a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped)
         WHEN 'r' THEN (SELECT format('SUBTYPE = %%s', format_type(r.rngsubtype, NULL))
                              || CASE WHEN r.rngcanonical <> 0 OR r.rngsubdiff <> 0 OR NOT oc.opcdefault
                                      THEN ', OTHERWISE' ELSE '' END
                          FROM pg_range r JOIN pg_opclass oc ON oc.oid = r.rngsubopc WHERE r.rngtypid = t.oid)
         ELSE '' END AS body,
       coalesce((SELECT json_agg(json_build_array(c.conname, pg_get_constraintdef(c.oid)) ORDER BY c.conname)
                   FROM pg_constraint c WHERE c.contypid = t.oid AND c.contype = 'c'), '[]') AS checks
  FROM used u JOIN pg_type t ON t.oid = u.oid JOIN pg_namespace n ON n.oid = t.typnamespace
 WHERE n.nspname <> 'pg_catalog' AND t.typtype IN ('e', 'd', 'c', 'r', 'b') AND t.typcategory <> 'A'
   AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_type'::regclass AND d.objid = t.oid AND d.deptype = 'e')
 ORDER BY t.oid

-- name: sequences
-- What column defaults draw from, and those named; identity columns have theirs inside.
SELECT s.seqrelid::int8 AS oid, n.nspname AS schema, c.relname AS name,
       format('AS %%s START WITH %%s INCREMENT BY %%s MINVALUE %%s MAXVALUE %%s CACHE %%s%%s', format_type(s.seqtypid, NULL),
              s.seqstart, s.seqincrement, s.seqmin, s.seqmax, s.seqcache, CASE WHEN s.seqcycle THEN ' CYCLE' ELSE '' END) AS options,
       onn.nspname AS owner_schema, oc.relname AS owner_name, oa.attname AS owner_column
  FROM pg_sequence s JOIN pg_class c ON c.oid = s.seqrelid JOIN pg_namespace n ON n.oid = c.relnamespace
  LEFT JOIN pg_depend o ON o.classid = 'pg_class'::regclass AND o.objid = s.seqrelid AND o.deptype = 'a'
  LEFT JOIN pg_class oc ON oc.oid = o.refobjid LEFT JOIN pg_namespace onn ON onn.oid = oc.relnamespace
  LEFT JOIN pg_attribute oa ON oa.attrelid = o.refobjid AND oa.attnum = o.refobjsubid
 WHERE s.seqrelid IN (SELECT d.refobjid FROM pg_attrdef ad JOIN pg_depend d ON d.classid = 'pg_attrdef'::regclass
                         AND d.objid = ad.oid AND d.refclassid = 'pg_class'::regclass WHERE ad.adrelid = ANY (%(oids)s))
    OR (n.nspname, c.relname) IN (SELECT * FROM unnest(%(sequence_schemas)s::text[], %(sequence_names)s::text[]))
 ORDER BY 2, 3

-- name: dependencies
-- What the tables, their indexes, constraints, defaults, policies and types are made of: members of extensions
-- (extension is not null), and objects of the application that we do not create.
WITH objects(class, oid) AS (
    SELECT 'pg_class'::regclass::oid, unnest(%(oids)s::oid[])
    UNION SELECT 'pg_class'::regclass, indexrelid FROM pg_index WHERE indrelid = ANY (%(oids)s)
    UNION SELECT 'pg_attrdef'::regclass, oid FROM pg_attrdef WHERE adrelid = ANY (%(oids)s)
    UNION SELECT 'pg_constraint'::regclass, oid FROM pg_constraint
           WHERE (conrelid = ANY (%(oids)s) OR contypid = ANY (%(types)s)) AND contype <> 'f'
    UNION SELECT 'pg_policy'::regclass, oid FROM pg_policy WHERE polrelid = ANY (%(oids)s)
    UNION SELECT 'pg_type'::regclass, unnest(%(types)s::oid[])
), parts(class, oid) AS (
    SELECT d.refclassid, d.refobjid FROM pg_depend d JOIN objects o ON o.class = d.classid AND o.oid = d.objid
    UNION SELECT 'pg_type'::regclass, coalesce(nullif(t.typelem, 0), t.oid) FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
           WHERE a.attrelid = ANY (%(oids)s) AND a.attnum > 0 AND NOT a.attisdropped
)
SELECT DISTINCT e.extname::text AS extension, en.nspname::text AS extension_schema, e.extversion AS version,
       CASE WHEN e.oid IS NULL THEN a.type END AS kind, CASE WHEN e.oid IS NULL THEN a.object_names END AS names,
       CASE WHEN e.oid IS NULL THEN a.object_args END AS arguments,
       CASE WHEN e.oid IS NULL THEN i.identity END AS identity
  FROM parts p LEFT JOIN pg_depend m ON m.classid = p.class AND m.objid = p.oid AND m.deptype = 'e'
  LEFT JOIN pg_extension e ON e.oid = m.refobjid LEFT JOIN pg_namespace en ON en.oid = e.extnamespace
  CROSS JOIN LATERAL pg_identify_object_as_address(p.class, p.oid, 0) a
  CROSS JOIN LATERAL pg_identify_object(p.class, p.oid, 0) i
 WHERE e.oid IS NOT NULL
    OR (p.oid >= 16384 AND p.class IN ('pg_proc'::regclass, 'pg_collation'::regclass, 'pg_ts_config'::regclass,
        'pg_opclass'::regclass, 'pg_opfamily'::regclass, 'pg_operator'::regclass))
 ORDER BY 1, 7

-- name: extensions
SELECT e.extname::text AS name, n.nspname::text AS schema, e.extversion AS version
  FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace

-- name: namespaces
SELECT n.nspname AS name, CASE WHEN acl.grantee <> 0 THEN pg_get_userbyid(acl.grantee)::text END AS role,
       acl.privilege_type AS privilege, acl.is_grantable AS grantable
  FROM pg_namespace n LEFT JOIN LATERAL aclexplode(n.nspacl) acl ON acl.grantee <> n.nspowner
 WHERE n.nspname = ANY (%(schemas)s) ORDER BY 1, 2, 3

-- name: views
SELECT DISTINCT format('%%s.%%s', n.nspname, v.relname) AS name
  FROM pg_depend d JOIN pg_rewrite w ON w.oid = d.objid AND d.classid = 'pg_rewrite'::regclass
  JOIN pg_class v ON v.oid = w.ev_class JOIN pg_namespace n ON n.oid = v.relnamespace
 WHERE d.refclassid = 'pg_class'::regclass AND d.refobjid = ANY (%(oids)s) AND v.relkind IN ('v', 'm') ORDER BY 1

-- name: functions
SELECT p.oid::regprocedure::text AS name FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
 WHERE n.nspname = ANY (%(schemas)s) AND n.nspname NOT IN ('pg_catalog', 'information_schema')
   AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid
                      AND d.deptype IN ('e', 'i'))
 ORDER BY 1
