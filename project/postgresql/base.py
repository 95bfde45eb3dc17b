"""Django's PostgreSQL backend; it refuses to connect to silent servers, and registers its connections (see probe)."""

from contextlib import suppress
from typing import Any

import psycopg2
from django.db.backends.postgresql import base

from project.replicas import probe

NOTICE_US_GONE = "SET client_connection_check_interval = '2s'"
"""The server ends a statement whose client is gone, such as an interrupted job, and releases its locks."""


class DatabaseWrapper(base.DatabaseWrapper):
    def get_new_connection(self, conn_params: dict[str, Any]) -> Any:
        """Raises the driver's error at once for a silent server, instead of after connect_timeout in every thread."""
        probe.refuse_if_silent(self.alias)
        connection = super().get_new_connection(conn_params)
        probe.register(self.alias, connection)
        connection.autocommit = True  # Django sets it next; set here it saves BEGIN and COMMIT
        with suppress(psycopg2.Error), connection.cursor() as cursor:  # not available on every operating system
            cursor.execute(NOTICE_US_GONE)
        return connection
