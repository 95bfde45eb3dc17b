"""Resuming what the guard has stopped, for the views of broadcasts and streams."""

from typing import cast

from django.contrib.auth.models import User
from rest_framework.exceptions import PermissionDenied
from rest_framework.request import Request

from mail.errors import NotStopped
from mail.models import Broadcast, Stream
from mail.policy.guard import resume
from rest.responses import Conflict


def resume_if_permitted(request: Request, stopped: Broadcast | Stream) -> None:
    """Raises PermissionDenied, Conflict."""
    if not cast("User", request.user).has_perm("mail.resume_stopped"):
        raise PermissionDenied("Resuming what was stopped needs the permission mail.resume_stopped.")
    try:
        resume(stopped)
    except NotStopped as error:
        raise Conflict(f"The {error}.", "not_stopped") from None
