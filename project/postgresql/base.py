"""Django's PostgreSQL backend, which waits for no server that is known to say nothing, and knows its connections."""

from typing import Any

from django.db.backends.postgresql import base

from project import servers


class DatabaseWrapper(base.DatabaseWrapper):
    def get_new_connection(self, conn_params: dict[str, Any]) -> Any:
        """Raises the driver's error at once instead of after connect_timeout, by which all threads would be held."""
        servers.refuse_if_silent(self.alias)
        connection = super().get_new_connection(conn_params)
        servers.note(self.alias, connection)
        return connection
