"""GET jobs/{id}/output/: the owner downloads the file that the job's handler has stored."""

from uuid import UUID

import structlog
from django.core.files.storage import default_storage
from django.http import FileResponse, HttpResponse, HttpResponseBase
from django.utils.cache import get_conditional_response
from django.utils.http import content_disposition_header
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework.exceptions import NotFound
from rest_framework.request import Request
from rest_framework.views import APIView

from jobs.models.outputs import Output
from rest.openapi import CONTENT_DISPOSITION, ETAG, IF_NONE_MATCH
from routers import pool, replica_was_read, use_primary

log = structlog.get_logger(__name__)


class Download(FileResponse):
    block_size = 32 * 1024


class OutputView(APIView):
    @extend_schema(
        operation_id="jobs_output",
        # Whatever type the kind gave the file; the first is what generated clients look for.
        responses={(200, "application/octet-stream", "*/*"): OpenApiTypes.BINARY, 304: None},
        parameters=[IF_NONE_MATCH, ETAG, CONTENT_DISPOSITION],
    )
    def get(self, request: Request, job_id: UUID) -> HttpResponseBase:
        """The file that the job has produced. 404 until the job has succeeded, or if it made no file."""
        output = _owned_output(request.user.pk, job_id)
        etag = f'"{output.pk.hex}"'
        response: HttpResponseBase | None = get_conditional_response(request._request, etag=etag)
        if response is None:
            response = HttpResponse() if request.method == "HEAD" else _open(output)
        # After the response is made: FileResponse sets these headers from the name in the storage.
        response["Content-Type"] = output.content_type
        response["Content-Length"] = str(output.size)
        response["Content-Disposition"] = content_disposition_header(True, output.filename)
        response["X-Content-Type-Options"] = "nosniff"
        response["ETag"] = etag
        return response


def _owned_output(user_id: int | None, job_id: UUID) -> Output:
    """Raises NotFound. Asks the primary if a replica has no output: it may lag behind the job's success."""
    output = _find(user_id, job_id)
    if output is None and replica_was_read() and not pool.primary_is_out:
        with use_primary():
            output = _find(user_id, job_id)
    if output is None:
        raise NotFound
    return output


def _find(user_id: int | None, job_id: UUID) -> Output | None:
    found: Output | None = Output.objects.finished().filter(job_id=job_id, job__user=user_id).first()
    return found


def _open(output: Output) -> Download:
    try:
        return Download(default_storage.open(output.place))
    except FileNotFoundError:
        log.error("output_missing", output=str(output.pk))
        raise NotFound from None
