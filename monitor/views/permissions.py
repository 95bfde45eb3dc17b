"""Who may do what in the monitor. Every page requires a staff user; views check these permissions too."""

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest
from django.http.response import HttpResponseBase

View = Callable[..., HttpResponseBase]

VIEW, OPERATE, PAUSE, DATA = "jobs.view_job", "jobs.operate_job", "jobs.pause_queue", "jobs.view_job_data"


def requires(permission: str) -> Callable[[View], View]:
    """The view answers 403 to operators without this permission."""

    def decorate(view: View) -> View:
        @wraps(view)
        def checked(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
            if not request.user.has_perm(permission):
                raise PermissionDenied
            return view(request, *args, **kwargs)

        return checked

    return decorate
