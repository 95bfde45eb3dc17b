"""A form that submits a job of any kind that clients may post; new-job.js makes its fields from the kind's schema."""

import json
from io import BytesIO
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from rest_framework.exceptions import ParseError, ValidationError

from jobs.api.params_schema import params_schema
from jobs.registry import UnknownKind, find_kind, kinds
from jobs.submit import submit
from monitor.bulk import log_action
from monitor.views.job_page import operator
from monitor.views.permissions import OPERATE, requires
from rest.json import JSONParser


@requires(OPERATE)
def new_job_page(request: HttpRequest, site: Any) -> HttpResponse:
    """The job belongs to the operator. GET: an empty form for ?kind=."""
    given = request.POST if request.method == "POST" else request.GET
    name, text, errors = given.get("kind", ""), given.get("params", "{}"), ""
    if request.method == "POST":
        errors = _submit(request, name, text)
        if not errors:
            return HttpResponseRedirect(reverse("admin:jobs_job_changelist"))
    known = [kind for kind in kinds() if not kind.internal]
    chosen = next((kind for kind in known if kind.name == name), known[0])
    context = {
        **site.each_context(request),
        "title": "New job",
        "subtitle": None,
        "kinds": known,
        "chosen": chosen,
        "schema": params_schema(chosen),
        "params": text,
        "errors": errors,
    }
    return TemplateResponse(request, "monitor/new_job.html", context, status=400 if errors else 200)


def _submit(request: HttpRequest, name: str, text: str) -> str:
    """What is wrong; empty if the job was submitted."""
    try:
        if find_kind(name).internal:
            raise UnknownKind(name)
        params = JSONParser().parse(BytesIO(text.encode(errors="replace")))
        job = submit(name, params, user=operator(request))
    except UnknownKind:
        return "There is no such kind."
    except ParseError as error:
        return str(error.detail)
    except ValidationError as error:
        return json.dumps(error.detail, indent=2, ensure_ascii=False, default=str)
    log_action(operator(request), job, "submitted")
    messages.success(request, f"Submitted {name} {job.pk}.")
    return ""
