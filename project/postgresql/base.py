"""Django's PostgreSQL backend, which waits for no server that is known to say nothing, and knows its connections."""

from contextlib import suppress
from typing import Any

import psycopg2
from django.db.backends.postgresql import base

from project.replicas import probe

NOTICE_US_GONE = "SET client_connection_check_interval = '2s'"
"""The server ends a statement whose client is gone, such as that of an interrupted job, and lets go of its locks."""


class DatabaseWrapper(base.DatabaseWrapper):
    def get_new_connection(self, conn_params: dict[str, Any]) -> Any:
        """Raises the driver's error at once instead of after connect_timeout, by which all threads would be held."""
        probe.refuse_if_silent(self.alias)
        connection = super().get_new_connection(conn_params)
        probe.note(self.alias, connection)
        connection.autocommit = True  # spares BEGIN and COMMIT; Django sets it next
        with suppress(psycopg2.Error), connection.cursor() as cursor:  # not every operating system has it
            cursor.execute(NOTICE_US_GONE)
        return connection
