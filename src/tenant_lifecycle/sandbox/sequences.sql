-- COPY with explicit ids leaves sequences behind: move each to the largest id in use.
DO $$
DECLARE
    one record;
BEGIN
    FOR one IN
        SELECT format('%I.%I', sn.nspname, s.relname) AS sequence, t.oid::regclass AS of_table, a.attname AS of_column
          FROM pg_class s
          JOIN pg_depend d ON d.objid = s.oid AND d.classid = 'pg_class'::regclass AND d.deptype IN ('a', 'i')
          JOIN pg_class t ON t.oid = d.refobjid
          JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum = d.refobjsubid
          JOIN pg_namespace sn ON sn.oid = s.relnamespace
         WHERE s.relkind = 'S' AND t.relnamespace = 'public'::regnamespace
    LOOP
        EXECUTE format('SELECT setval(%L, max(%I)) FROM %s HAVING max(%I) IS NOT NULL',
                       one.sequence, one.of_column, one.of_table, one.of_column);
    END LOOP;
END $$;
