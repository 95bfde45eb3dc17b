"""The {address} in the URLs of suppressions: how the schema describes it, and how it is parsed."""

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter
from rest_framework.exceptions import NotFound

from mail.addresses.parsing import BadAddress, parse_mailbox

ADDRESS = OpenApiParameter("address", OpenApiTypes.EMAIL, "path", description="Percent-encoded; case does not matter.")


def address_or_404(text: str) -> str:
    """Normalized, as addresses are stored. Raises NotFound for an invalid one."""
    try:
        return parse_mailbox(text).address
    except BadAddress:
        raise NotFound from None
