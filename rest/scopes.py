"""What a token may do. Pure: for DRF's authentication, and for code that answers requests without DRF."""

from django.db.models import TextChoices

SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
LEASES = "/api/v1/leases/"


class Scope(TextChoices):
    ALL = "all"  # everything that its user may do
    READ = "read"  # safe methods only
    LEASES = "leases"  # leases of remote workers, and nothing else


def allows(scope: str, method: str, path: str) -> bool:
    """Whether a token of this scope may make this request."""
    if scope == Scope.READ:
        return method in SAFE
    if scope == Scope.LEASES:
        return path.startswith(LEASES)
    return scope == Scope.ALL


def refusal(scope: str) -> str:
    """The detail of the 403, whose code is insufficient_scope."""
    allowed = f"requests to {LEASES}" if scope == Scope.LEASES else "GET, HEAD and OPTIONS"
    return f"This token has the scope {scope}, which allows only {allowed}."
