"""The views, their serializer and their routes."""

import os
from typing import Any

from celery import Celery
from django.urls import include, path
from django_q.tasks import async_task
from rest_framework import mixins, serializers, status, viewsets
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.routers import DefaultRouter

from benchmarks.peers.api_django.models import Job

queue = Celery("bench", broker=f"{os.environ['REDIS_URL']}/0", backend=f"{os.environ['REDIS_URL']}/1")


class JobSerializer(serializers.HyperlinkedModelSerializer[Job]):
    class Meta:
        model = Job
        fields = (
            *("id", "url", "kind", "params", "status", "progress", "attempt", "max_attempts", "priority", "timeout"),
            *("unique_key", "run_at", "created", "started_at", "finished_at", "result", "errors", "cancel_requested"),
        )
        read_only_fields = (
            *("status", "progress", "attempt", "run_at", "created", "started_at", "finished_at", "result", "errors"),
            "cancel_requested",
        )


class JobView(mixins.ListModelMixin, mixins.RetrieveModelMixin, viewsets.GenericViewSet[Job]):
    serializer_class = JobSerializer

    def get_queryset(self) -> Any:
        return Job.objects.filter(user=self.request.user)

    def create(self, request: Request) -> Response:
        serializer = self.get_serializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        job = serializer.save(user=request.user)
        if os.environ["BENCH_QUEUE"] == "celery":
            queue.send_task("bench.run", [str(job.pk)])
        else:
            async_task("benchmarks.peers.api_worker.finish", str(job.pk))
        return Response(serializer.data, status.HTTP_202_ACCEPTED, headers={"Location": serializer.data["url"]})


router = DefaultRouter()
router.register("jobs", JobView, basename="job")
urlpatterns = [path("api/v1/", include(router.urls))]
