"""Every URL on one screen."""

from django.contrib import admin
from django.urls import URLPattern, URLResolver, include, path, re_path
from django.views.generic import RedirectView

from mail.unsubscribe_page import page as unsubscribe_page
from project.docs import DocsView, SchemaView
from project.health import healthz, readyz
from project.problems import unknown_url
from project.sessions import SessionView
from project.tokens import CurrentTokenView, TokensView

api: list[URLPattern | URLResolver] = [
    path("tokens/", TokensView.as_view(), name="tokens"),
    path("tokens/current/", CurrentTokenView.as_view(), name="current-token"),
    path("session/", SessionView.as_view(), name="session"),
    path("schema/", SchemaView.as_view(), name="schema"),
    path("docs/", DocsView.as_view(url_name="schema"), name="docs"),
    path("", include("jobs.urls")),
    path("mail/", include("mail.urls")),
]

urlpatterns = [
    path("", RedirectView.as_view(pattern_name="docs")),
    path("api/v1/", include(api)),
    path("admin", RedirectView.as_view(pattern_name="admin:index")),
    path("admin/", admin.site.urls),
    path("unsubscribe/<str:token>/", unsubscribe_page, name="unsubscribe"),
    path("webhooks/", include("mail.webhook_urls")),
    path("healthz", healthz, name="healthz"),
    path("readyz", readyz, name="readyz"),
    re_path(r"^(?P<rest>.*)$", unknown_url),
]

handler400 = "project.problems.bad_request"
handler403 = "project.problems.permission_denied"
handler404 = "project.problems.not_found"
handler500 = "project.problems.server_error"
