"""Records in the database itself each change of a job's status, with worker and user."""

from contextlib import closing
from typing import Any

import psycopg2

INSTALL = """
DELETE FROM jobs_job;
CREATE TABLE remote_transition (
    number bigserial PRIMARY KEY, job uuid NOT NULL, owner int NOT NULL, worker text NOT NULL, attempt int NOT NULL,
    old text NOT NULL, new text NOT NULL
);
CREATE FUNCTION remote_note() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO remote_transition (job, owner, worker, attempt, old, new)
    VALUES (NEW.id, NEW.user_id, NEW.worker, NEW.attempt, OLD.status, NEW.status);
    RETURN NULL;
END
$$;
CREATE TRIGGER remote_note AFTER UPDATE OF status ON jobs_job
    FOR EACH ROW WHEN (OLD.status <> NEW.status) EXECUTE FUNCTION remote_note();
"""

HELD_TWICE = """
    SELECT {whose}, number FROM (
        SELECT *, sum(CASE WHEN new = 'running' THEN 1 ELSE -1 END) OVER (PARTITION BY {whose} ORDER BY number) AS held
        FROM remote_transition WHERE 'running' IN (old, new)
    ) AS counted WHERE held NOT IN (0, 1)
"""
"""A claim waits for the end of the lease before it, so that the numbers of one worker's and one job's are in order."""
BROKEN = {
    "has not succeeded": "SELECT id, status FROM jobs_job WHERE status <> 'succeeded'",
    "has not succeeded exactly once": """
        SELECT id, count(number) FROM jobs_job LEFT JOIN remote_transition ON job = id AND new = 'succeeded'
        GROUP BY id HAVING count(number) <> 1
    """,
    "has ended in another way": "SELECT job, new FROM remote_transition WHERE new IN ('failed', 'cancelled')",
    "was held by two": HELD_TWICE.format(whose="job"),
    "is a worker that held two": HELD_TWICE.format(whose="owner, worker"),
}
ATTEMPTS = "SELECT count(*) FROM remote_transition WHERE new = 'running'"
RESULTS = "SELECT id::text, result #>> '{}' FROM jobs_job"
UNFINISHED = "SELECT count(*) FROM jobs_job WHERE status NOT IN ('succeeded', 'failed', 'cancelled')"


def install(url: str) -> None:
    """Delete the jobs that earlier tests have left, and install the triggers."""
    with closing(psycopg2.connect(url)) as connection, connection, connection.cursor() as cursor:
        cursor.execute(INSTALL)


def rows(url: str, query: str) -> list[tuple[Any, ...]]:
    with closing(psycopg2.connect(url)) as connection, connection, connection.cursor() as cursor:
        cursor.execute(query)
        return list(cursor.fetchall())
