"""The URLs of jobs, below /api/v1/."""

from django.urls import path

from jobs.api import views
from jobs.api.download import OutputView
from jobs.api.watching import AllJobsEventsView, JobEventsView

urlpatterns = [
    path("job-kinds/", views.KindListView.as_view(), name="job-kinds"),
    path("jobs/", views.JobListView.as_view(), name="jobs"),
    path("jobs/batch/", views.BatchView.as_view(), name="job-batch"),
    path("jobs/events/", AllJobsEventsView.as_view(), name="jobs-events"),
    path("jobs/<uuid:job_id>/", views.JobView.as_view(), name="job"),
    path("jobs/<uuid:job_id>/cancellation/", views.CancellationView.as_view(), name="job-cancellation"),
    path("jobs/<uuid:job_id>/events/", JobEventsView.as_view(), name="job-events"),
    path("jobs/<uuid:job_id>/output/", OutputView.as_view(), name="job-output"),
    path("jobs/<uuid:job_id>/retries/", views.RetryListView.as_view(), name="job-retries"),
]
