"""Django's PostgreSQL backend; it refuses to connect to silent servers, and registers its connections (see probe)."""

from contextlib import suppress
from typing import Any

import psycopg2
from django.conf import settings
from django.db import DEFAULT_DB_ALIAS
from django.db.backends.postgresql import base

from project.replicas import probe
from rest import outage
from rest.pooler import find_pooler

READ_ONLY = "-c default_transaction_read_only=on"
"""The option of connections to replicas (settings/env.py)."""
NOTICE_US_GONE = "SET client_connection_check_interval = '2s'"
"""The server ends a statement whose client is gone, such as an interrupted job, and releases its locks."""
DO_NOT_COMPILE = "SET jit = off"
"""Our statements are short. PostgreSQL compiled the INSERT of gathered POSTs to machine code at each execution, because
it does not know how long the arrays are: 1.3 ms of CPU a job."""
LIMIT_IDLENESS = "SET idle_in_transaction_session_timeout = '{}s'"
LIMIT_TRANSACTIONS = "SET transaction_timeout = '{}s'"
"""The server ends the session of a transaction that idles or lasts too long, and so holds back vacuum. The second
setting needs PostgreSQL 17."""


class DatabaseWrapper(base.DatabaseWrapper):
    def get_new_connection(self, conn_params: dict[str, Any]) -> Any:
        """Raises the driver's error at once for a silent server, instead of after connect_timeout in every thread."""
        probe.refuse_if_silent(self.alias)
        connection = self._connect(conn_params)
        if self.alias == DEFAULT_DB_ALIAS:
            outage.database.end()
        probe.register(self.alias, connection)
        connection.autocommit = True  # Django sets it next; set here it saves BEGIN and COMMIT
        if find_pooler(self.settings_dict, connection):
            return connection  # what is set for a session would reach other clients of the pooler
        with suppress(psycopg2.Error), connection.cursor() as cursor:  # not available on every operating system
            cursor.execute(NOTICE_US_GONE)
        with connection.cursor() as cursor:
            cursor.execute(DO_NOT_COMPILE)
        _limit_transactions(connection)
        return connection

    def _connect(self, conn_params: dict[str, Any]) -> Any:
        """PgBouncer before 1.20 refuses `options`. Then replicas go without: a standby refuses writes by itself."""
        try:
            return super().get_new_connection(conn_params)
        except psycopg2.OperationalError as error:
            if conn_params.get("options") != READ_ONLY or "unsupported startup parameter" not in str(error):
                raise
        return super().get_new_connection({name: value for name, value in conn_params.items() if name != "options"})


def _limit_transactions(connection: Any) -> None:
    with connection.cursor() as cursor:
        cursor.execute(LIMIT_IDLENESS.format(settings.IDLE_TRANSACTION_TIMEOUT))
        if connection.server_version >= 170000:
            cursor.execute(LIMIT_TRANSACTIONS.format(settings.TRANSACTION_TIMEOUT))
