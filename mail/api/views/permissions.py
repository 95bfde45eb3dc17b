"""Permission checks that several views of mail share."""

from typing import cast

from django.contrib.auth.models import User
from rest_framework.exceptions import PermissionDenied
from rest_framework.request import Request


def staff_or_permitted(request: Request, permission: str) -> User:
    """The caller, if staff or with this permission. Raises PermissionDenied."""
    user = cast("User", request.user)
    if not (user.is_staff or user.has_perm(permission)):
        raise PermissionDenied(f"This needs staff status or the permission {permission}.")
    return user
