"""Which query parameters a view of the API takes; any other is an error."""

from collections.abc import Mapping
from typing import Any

from rest_framework.exceptions import ValidationError
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from rest.requests.strict import unknown_names

PAGES = ("cursor", "page_size")


def allowed_parameters(view: type[Any], method: str) -> tuple[str, ...]:
    """A list's filter and page parameters, and those that the view names itself: `query_parameters = ("after",)`."""
    own: tuple[str, ...] = getattr(view, "query_parameters", ())
    if method not in ("GET", "HEAD"):
        return own
    filters = getattr(getattr(view, "filterset_class", None), "base_filters", ())
    pages = PAGES if hasattr(view, "paginate_queryset") else ()
    return (*own, *filters, *pages)


class KnownParameters(BasePermission):
    """Not a permission, but checked like one: after the caller is known, and for every view."""

    def has_permission(self, request: Request, view: Any) -> bool:
        method = request.method or ""
        if hasattr(view, method.lower()):
            errors = unknown_parameters(type(view), method, request.query_params)
            if errors:
                raise ValidationError(errors)
        return True


def unknown_parameters(view: type[Any], method: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """The errors of parameters that the view does not take, by name."""
    return unknown_names(given, allowed_parameters(view, method), "parameter")
