"""A user's logins: tokens of programs, of which only digests are stored, and sessions of browsers."""

import hashlib
from datetime import datetime
from importlib import import_module
from typing import Any

from django.conf import settings
from django.contrib.auth.models import User
from django.contrib.sessions.base_session import AbstractBaseSession
from django.db import models
from django.db.models.query import QuerySet
from django.utils import timezone
from knox.models import AbstractAuthToken, AuthTokenManager

from jobs.models.ids import new_id
from rest.scopes import Scope


class TokenQuerySet(models.QuerySet["Token"]):
    def live_for(self, user: User) -> QuerySet["Token"]:
        """The user's tokens that authenticate."""
        mine = self.filter(user=user, password_digest=password_digest(user.password))
        return mine.filter(models.Q(expiry=None) | models.Q(expiry__gt=timezone.now()))

    def keep_after_rehash(self, user: User, old_password: str) -> None:
        """Keep the tokens of a user whose unchanged password was hashed anew. old_password: the previous hash."""
        old = self.filter(user=user, password_digest=password_digest(old_password))
        old.update(password_digest=password_digest(user.password))

    def prune(self, batch: int = 1000) -> int:
        """Delete expired tokens in batches, so that no statement locks for long. Returns how many."""
        pruned = 0
        while expired := list(self.filter(expiry__lte=timezone.now()).values_list("pk", flat=True)[:batch]):
            pruned += self.filter(pk__in=expired).delete()[0]
        return pruned


class TokenManager(AuthTokenManager.from_queryset(TokenQuerySet)):  # type: ignore[misc]
    def create(self, user: User, **fields: Any) -> tuple["Token", str]:
        """A new token and its key, which is stored nowhere. fields: name, scope, and expiry, a timedelta or None."""
        token, key = super().create(user, password_digest=password_digest(user.password), **fields)
        return token, key


class Token(AbstractAuthToken):  # type: ignore[misc]
    """knox's token with an id, a name by which its owner recognises the device, and a scope.

    password_digest: of the password hash at the login. A token authenticates only while it matches the user's, so that
    a changed password ends all tokens, whatever has changed it.
    """

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    digest = models.CharField(max_length=128, unique=True)
    name = models.CharField(max_length=100, blank=True)
    scope = models.CharField(max_length=10, choices=Scope.choices, default=Scope.ALL)
    password_digest = models.CharField(max_length=32)
    last_used_on = models.DateField(null=True, blank=True, help_text="The day (UTC) of the latest use.")

    objects = TokenManager()

    class Meta:
        ordering = ("-created",)
        constraints = (models.CheckConstraint(name="token_scope_known", condition=models.Q(scope__in=Scope.values)),)

    def __str__(self) -> str:
        return self.name or "unnamed device"

    def authenticates(self, now: datetime) -> bool:
        """Whether it lets its user in. The user must be loaded, with is_active and password."""
        return is_live(self.expiry, self.password_digest, self.user.password, self.user.is_active, now)


def is_live(expiry: datetime | None, digest: str, password: str, is_active: bool, now: datetime) -> bool:
    """Whether a token authenticates. digest: its password_digest. password, is_active: its user's columns."""
    return is_active and (expiry is None or expiry > now) and digest == password_digest(password)


def password_digest(password: str) -> str:
    """A short digest of a password hash, which is random enough not to need another salt."""
    return hashlib.blake2b(password.encode(), digest_size=16).hexdigest()


class Session(AbstractBaseSession):
    """Django's session, with its user, so that all sessions of a user can be ended. The store fills it in."""

    user_id = models.BigIntegerField(null=True, db_index=True)

    @classmethod
    def get_session_store_class(cls) -> Any:
        return import_module(settings.SESSION_ENGINE).SessionStore
