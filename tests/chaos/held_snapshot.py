"""A transaction elsewhere that keeps VACUUM from removing dead rows, as a report or a forgotten session does."""

from contextlib import suppress

import psycopg2


class HeldSnapshot:
    """look() is called all the time: it takes a new snapshot when the connection was lost."""

    def __init__(self, database_url: str) -> None:
        self.database_url = database_url
        self.count = 0
        """How often a snapshot was taken."""
        self._connection: psycopg2.extensions.connection | None = None

    @property
    def backends(self) -> list[int]:
        return [self._connection.info.backend_pid] if self._connection else []

    def look(self) -> None:
        with suppress(psycopg2.Error):  # the database is away, or has just come back
            try:
                self._connection = self._connection or self._open()
                self._connection.cursor().execute("SELECT 1")
            except psycopg2.Error:
                self.release()
                raise

    def release(self) -> None:
        if self._connection:
            self._connection.close()
            self._connection = None

    def _open(self) -> psycopg2.extensions.connection:
        connection = psycopg2.connect(self.database_url)
        connection.set_session(isolation_level="REPEATABLE READ")
        self.count += 1
        return connection
