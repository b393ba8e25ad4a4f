"""What makes a server safe to run a model's SQL on, and every server the same: rights, limits and settings.

Rights are taken away in each database after it is loaded, by its owner: whatever its script made, in any schema, is
covered. READ ONLY stops neither sleeping nor files, large objects, advisory locks, signals, sequences or SQL run from
text, so EXECUTE on all volatile catalog functions goes, but for a handful that do no harm (a list of the allowed
ages better than one of the denied). It goes on functions in C too, which extensions bring, and on those that run as
their owner. A database's own functions in SQL and PL/pgSQL stay: they can do no more than their caller.

Settings keep figures from wobbling: UTC, no parallel workers (parallel float sums differ by run), a fixed
search_path, formats and locale, whatever the server's or the environment's (``PGTZ``).

    connection.execute(lock_down("workbench_1a2b"))
"""

from __future__ import annotations

TEMP_FILE_LIMIT = "256MB"  # of the role

SETTINGS = {
    "search_path": "public",
    "TimeZone": "UTC",
    "DateStyle": "ISO,MDY",
    "IntervalStyle": "postgres",
    "extra_float_digits": "1",
    "lc_monetary": "C",
    "lc_numeric": "C",
    "lc_time": "C",
    "default_text_search_config": "pg_catalog.english",
    "max_parallel_workers_per_gather": "0",
    "jit": "off",
    "lock_timeout": "1000",
    "default_transaction_read_only": "on",
    "standard_conforming_strings": "on",
}

# Said once more after connecting, and before loading: libpq's environment variables beat the options.
FORMATS = "".join(
    f"SET {name} = '{SETTINGS[name]}';"
    for name in ("TimeZone", "DateStyle", "IntervalStyle", "standard_conforming_strings")
)

_LOCK_DOWN = """
DO $body$
DECLARE item text;
BEGIN
  FOR item IN
    SELECT p.oid::regprocedure::text FROM pg_catalog.pg_proc AS p JOIN pg_catalog.pg_language AS l ON l.oid = p.prolang
    WHERE p.prokind <> 'a' AND p.prorettype <> 'trigger'::regtype
      AND (p.provolatile = 'v' AND (NOT l.lanpltrusted OR p.pronamespace = 'pg_catalog'::regnamespace)
           AND p.proname <> ALL (ARRAY[
             'random', 'random_normal', 'gen_random_uuid', 'uuidv4', 'uuidv7', 'clock_timestamp', 'timeofday',
             'array_sample', 'array_shuffle', 'pg_relation_size', 'pg_table_size', 'pg_indexes_size',
             'pg_total_relation_size', 'pg_database_size'])
        OR p.prosecdef
        OR p.proname ~ '^(txid_current|pg_current_xact_id|pg_stat_get_activity|(table|schema|database)_to_xml)')
  LOOP
    EXECUTE 'REVOKE EXECUTE ON ROUTINE ' || item || ' FROM PUBLIC';
  END LOOP;
  FOR item IN
    SELECT quote_ident(nspname) FROM pg_catalog.pg_namespace
    WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'
  LOOP
    EXECUTE 'REVOKE CREATE ON SCHEMA ' || item || ' FROM PUBLIC';
    EXECUTE 'GRANT USAGE ON SCHEMA ' || item || ' TO {role}';
    EXECUTE 'GRANT SELECT ON ALL TABLES IN SCHEMA ' || item || ' TO {role}';
    EXECUTE 'GRANT SELECT ON ALL SEQUENCES IN SCHEMA ' || item || ' TO {role}';
  END LOOP;
  FOR item IN SELECT relid::regclass::text FROM pg_catalog.pg_stat_user_tables
  LOOP
    EXECUTE 'ANALYZE ' || item;
  END LOOP;
END
$body$
"""


def lock_down(role: str) -> bytes:
    """SQL that leaves ``role`` nothing but SELECT in a database; to be run there by a superuser, after loading.

    Args:
        role: of the sandbox; plain letters, digits and underscores.
    """
    return _LOCK_DOWN.format(role=role).encode()
