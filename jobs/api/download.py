"""GET jobs/{id}/output/: the owner downloads the file that the job's handler has stored."""

from typing import Any
from uuid import UUID

import structlog
from django.core.files.storage import default_storage
from django.http import FileResponse, HttpRequest, HttpResponse, HttpResponseBase
from django.utils.cache import get_conditional_response
from django.utils.http import content_disposition_header
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework.exceptions import NotFound
from rest_framework.request import Request
from rest_framework.views import APIView

from jobs.models.outputs import Output
from rest.openapi.parts import CONTENT_DISPOSITION, ETAG, IF_NONE_MATCH
from routers import pool, replica_was_read, use_primary

log = structlog.get_logger(__name__)


class Download(FileResponse):
    block_size = 32 * 1024


class OutputView(APIView):
    @extend_schema(
        operation_id="jobs_output",
        # */*: the handler chooses the content type. The other one is for generated clients, which use the first.
        responses={(200, "application/octet-stream", "*/*"): OpenApiTypes.BINARY, 304: None},
        parameters=[IF_NONE_MATCH, ETAG, CONTENT_DISPOSITION],
    )
    def get(self, request: Request, job_id: UUID) -> HttpResponseBase:
        """The file that the job has produced. 404 until the job has succeeded, or if it made no file."""
        return download(request._request, job_id, job__user=request.user.pk)


def download(request: HttpRequest, job_id: UUID, **which: Any) -> HttpResponseBase:
    """The response with the file of this job. which: conditions on the Output row. Raises NotFound."""
    output = _find(job_id=job_id, **which)
    etag = f'"{output.pk.hex}"'
    response: HttpResponseBase | None = get_conditional_response(request, etag=etag)
    if response is None:
        response = HttpResponse() if request.method == "HEAD" else _open(output)
    # After the response is made: FileResponse sets these headers from the name in the storage.
    response["Content-Type"] = output.content_type
    response["Content-Length"] = str(output.size)
    response["Content-Disposition"] = content_disposition_header(True, output.filename)
    response["X-Content-Type-Options"] = "nosniff"
    response["ETag"] = etag
    return response


def _find(**which: Any) -> Output:
    """Raises NotFound. Asks the primary if a replica has no output: it may lag behind the job's success."""
    found = Output.objects.finished().filter(**which)
    output: Output | None = found.first()
    if output is None and replica_was_read() and not pool.primary_is_out:
        with use_primary():
            output = found.first()
    if output is None:
        raise NotFound
    return output


def _open(output: Output) -> Download:
    try:
        return Download(default_storage.open(output.place))
    except FileNotFoundError:
        log.error("output_missing", output=str(output.pk))
        raise NotFound from None
