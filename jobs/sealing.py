"""Secrets in jobs' params: stored encrypted with SECRET_KEY, read only to run the job, and never shown."""

import base64
import hashlib
from functools import cache
from importlib import import_module
from typing import Any

from django.conf import settings

PREFIX = "sealed:"
HIDDEN = "…"


def seal(secret: str) -> str:
    """Encrypted, as it is stored."""
    token: str = _fernet().encrypt(secret.encode()).decode()
    return PREFIX + token


def unseal(stored: str) -> str:
    """The secret, from what seal() has made with SECRET_KEY or one of SECRET_KEY_FALLBACKS; other text unchanged."""
    if not is_sealed(stored):
        return stored
    fernet = _module()
    try:
        secret: str = _fernet().decrypt(stored[len(PREFIX) :].encode()).decode()
    except fernet.InvalidToken:
        return stored
    return secret


def is_sealed(value: object) -> bool:
    return isinstance(value, str) and value.startswith(PREFIX)


def shown_params(params: object) -> object:
    """Stored params as clients and operators may see them: what is sealed is hidden. Looks two levels deep. Pure."""
    if not isinstance(params, dict):
        return params
    return {name: _shown(value) for name, value in params.items()}


def _shown(value: object) -> object:
    if isinstance(value, dict):
        return {name: HIDDEN if is_sealed(inner) else inner for name, inner in value.items()}
    return HIDDEN if is_sealed(value) else value


def _module() -> Any:
    """Imported at first use: most processes never see a secret, and cryptography takes 10 MB."""
    return import_module("cryptography.fernet")


def _fernet() -> Any:
    return _fernet_of(settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS)


@cache
def _fernet_of(*keys: str) -> Any:
    fernet, digests = _module(), [hashlib.sha256(f"sealing {key}".encode()).digest() for key in keys]
    return fernet.MultiFernet([fernet.Fernet(base64.urlsafe_b64encode(digest)) for digest in digests])
