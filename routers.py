"""Which database a query goes to. There is one so far, the read-write primary; replicas join it here."""

from typing import Any

from django.db.models import Model

PRIMARY = "default"


class PrimaryReplicaRouter:
    """The one database router of the project (Django's DATABASE_ROUTERS)."""

    def db_for_read(self, model: type[Model], **hints: Any) -> str:
        return PRIMARY

    def db_for_write(self, model: type[Model], **hints: Any) -> str:
        """Said outright: without an answer Django would write where the instance was read."""
        return PRIMARY

    def allow_migrate(self, db: str, app_label: str, **hints: Any) -> bool:
        """Only the primary's schema is ours to change; replicas follow it."""
        return db == PRIMARY
