"""Every URL on one screen."""

from django.contrib import admin
from django.urls import URLPattern, URLResolver, include, path, re_path
from django.views.generic import RedirectView

from mail.unsubscribe.page import page as unsubscribe_page
from monitor.metrics.page import metrics
from project.api.docs import SchemaView, docs
from project.api.index import IndexView
from project.api.limits import LimitsView
from project.health import healthz, readyz
from project.login.sessions import SessionView
from project.login.tokens import CurrentTokenView, TokensView, TokenView
from project.page.views import page
from rest.problems import unknown_url

api: list[URLPattern | URLResolver] = [
    path("", IndexView.as_view(), name="index"),
    path("limits/", LimitsView.as_view(), name="limits"),
    path("tokens/", TokensView.as_view(), name="tokens"),
    path("tokens/<uuid:token_id>/", TokenView.as_view(), name="token"),
    path("tokens/current/", CurrentTokenView.as_view(), name="current-token"),
    path("session/", SessionView.as_view(), name="session"),
    path("schema/", SchemaView.as_view(), name="schema"),
    path("docs/", docs, name="docs"),
    path("", include("jobs.api.urls")),
    path("", include("jobs.remote.urls")),
    path("mail/", include("mail.api.urls")),
]

urlpatterns = [
    path("", page, name="page"),
    path("api/v1/", include(api)),
    path("admin", RedirectView.as_view(pattern_name="admin:index")),
    path("admin/", admin.site.urls),
    path("unsubscribe/<str:token>/", unsubscribe_page, name="unsubscribe"),
    path("webhooks/", include("mail.webhooks.urls")),
    path("metrics", metrics, name="metrics"),
    path("healthz", healthz, name="healthz"),
    path("readyz", readyz, name="readyz"),
    re_path(r"^(?P<rest>.*)$", unknown_url),
]

handler400 = "rest.problems.bad_request"
handler403 = "rest.problems.permission_denied"
handler404 = "rest.problems.not_found"
handler500 = "rest.problems.server_error"
