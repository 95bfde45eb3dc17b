-- The role and function that HAProxy's checks need. Run it once on the primary, in the database postgres, as a
-- superuser; replication brings it to the standbys: psql --dbname postgres --file check.sql

DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'haproxy') THEN
        CREATE ROLE haproxy LOGIN CONNECTION LIMIT 20;
    END IF;
END
$$;

ALTER ROLE haproxy SET statement_timeout = '1s';

-- A standby is late if it is behind by more than both, as in the application (project/replicas/replica_pool.py): an
-- idle primary sends nothing, so its standbys look late by time alone.
ALTER ROLE haproxy SET haproxy.late_seconds = '60';
ALTER ROLE haproxy SET haproxy.late_bytes = '8388608';

-- Returns primary, standby (good to read from), "cut off" (receives nothing), or late. primaries: 1 if HAProxy knows a
-- primary, else 0.
CREATE OR REPLACE FUNCTION public.haproxy_state(primaries integer) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog
AS $$
    SELECT CASE
        WHEN NOT pg_is_in_recovery() THEN 'primary'
        WHEN primaries = 0 THEN 'standby'
        WHEN NOT EXISTS (SELECT FROM pg_stat_wal_receiver) THEN 'cut off'
        WHEN extract(epoch FROM now() - pg_last_xact_replay_timestamp())
                > current_setting('haproxy.late_seconds')::float
            AND pg_wal_lsn_diff(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn())
                > current_setting('haproxy.late_bytes')::float
            THEN 'late'
        ELSE 'standby'
    END
$$;

REVOKE ALL ON FUNCTION public.haproxy_state(integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION public.haproxy_state(integer) TO haproxy;
