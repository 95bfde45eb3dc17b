"""Views that export and import suppressions as CSV, in our own format and in Mailgun's."""

from typing import Any, ClassVar

import structlog
from django.http import HttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework.exceptions import ErrorDetail, ValidationError
from rest_framework.parsers import MultiPartParser
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from mail.addresses.csv_files import BadFile
from mail.api.serializers.suppressions import SuppressionExport, SuppressionImported, SuppressionUpload
from mail.api.views.permissions import staff_or_permitted
from mail.models import Suppression
from mail.suppressions import files
from rest.openapi.parts import CONTENT_DISPOSITION, IDEMPOTENCY_KEY, REPLAYED
from rest.requests.idempotency import idempotent

log = structlog.get_logger(__name__)

MAX_ROWS = 10_000
"""Of an import by HTTP."""


class SuppressionExportView(APIView):
    query_parameters = ("list",)

    @extend_schema(
        operation_id="suppressions_export",
        responses={(200, "text/csv"): OpenApiTypes.STR},
        parameters=[SuppressionExport, CONTENT_DISPOSITION],
    )
    def get(self, request: Request) -> HttpResponse:
        """All suppressions in force as CSV, or those of one of Mailgun's lists in the format that Mailgun imports."""
        staff_or_permitted(request, "mail.view_suppression")
        wanted = SuppressionExport(data=request.query_params.dict())
        wanted.is_valid(raise_exception=True)
        name = wanted.validated_data.get("list")
        lines = files.export_file(Suppression.objects.in_force(), name)
        headers = {"Content-Disposition": f'attachment; filename="{name or "suppressions"}.csv"'}
        return HttpResponse("".join(lines), content_type="text/csv; charset=utf-8", headers=headers)


class SuppressionImportView(APIView):
    problems: ClassVar = {"POST": (409, 422)}
    parser_classes = (MultiPartParser,)

    @extend_schema(
        operation_id="suppressions_import",
        request={"multipart/form-data": SuppressionUpload},
        responses=SuppressionImported,
        parameters=[IDEMPOTENCY_KEY, REPLAYED],
    )
    @idempotent
    def post(self, request: Request) -> Response:
        """Suppress the addresses of a CSV file, exported by this project or by Mailgun. Bad rows are reported."""
        user = staff_or_permitted(request, "mail.add_suppression")
        body = SuppressionUpload(data=request.data)
        body.is_valid(raise_exception=True)
        given: dict[str, Any] = body.validated_data
        try:
            done = files.import_file(
                given["file"].read(), name=given.get("list"), source=user.get_username(), most=MAX_ROWS
            )
        except BadFile as error:
            raise ValidationError({"file": [ErrorDetail(str(error), "invalid")]}) from None
        log.info("suppressions_imported", imported=done.imported, refusals=done.refusals, user_id=user.pk)
        return Response(SuppressionImported(done).data)
