"""RowDigest: an ETag that PostgreSQL computes, so that a 304 needs neither the row's JSON nor its representation."""

from typing import Any

from django.db.models import CharField, Func


class RowDigest(Func):
    """Changes with any of these columns. NULL on databases other than PostgreSQL.

    Not the row's xmin or a counter: every renewal of a lease would change them, though clients see no change.
    """

    template = "to_hex(hashtextextended(ROW(%(expressions)s)::text, 0))"
    output_field = CharField()

    def as_sqlite(self, compiler: Any, connection: Any, **more: Any) -> Any:
        return "NULL", []
