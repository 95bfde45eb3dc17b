"""The URLs below /api/v1/mail/."""

from django.urls import path

from mail.api.views import broadcasts, messages, streams, suppression_files, suppressions, templates
from mail.api.watching import MessageEventsView

urlpatterns = [
    path("messages/", messages.MessageListView.as_view(), name="messages"),
    path("messages/batch/", messages.MessageBatchView.as_view(), name="message-batch"),
    path("messages/<uuid:message_id>/", messages.MessageView.as_view(), name="message"),
    path(
        "messages/<uuid:message_id>/cancellation/",
        messages.MessageCancellationView.as_view(),
        name="message-cancellation",
    ),
    path("messages/<uuid:message_id>/events/", MessageEventsView.as_view(), name="message-events"),
    path("messages/<uuid:message_id>/resends/", messages.ResendListView.as_view(), name="message-resends"),
    path("broadcasts/", broadcasts.BroadcastListView.as_view(), name="broadcasts"),
    path("broadcasts/<uuid:broadcast_id>/", broadcasts.BroadcastView.as_view(), name="broadcast"),
    path(
        "broadcasts/<uuid:broadcast_id>/cancellation/",
        broadcasts.BroadcastCancellationView.as_view(),
        name="broadcast-cancellation",
    ),
    path(
        "broadcasts/<uuid:broadcast_id>/resumption/",
        broadcasts.BroadcastResumptionView.as_view(),
        name="broadcast-resumption",
    ),
    path("streams/", streams.StreamListView.as_view(), name="streams"),
    path("streams/<slug:name>/", streams.StreamView.as_view(), name="stream"),
    path("streams/<slug:name>/resumption/", streams.StreamResumptionView.as_view(), name="stream-resumption"),
    path(
        "streams/<slug:name>/suppressions/",
        streams.StreamSuppressionListView.as_view(),
        name="stream-suppressions",
    ),
    path(
        "streams/<slug:name>/suppressions/<path:address>/",
        streams.StreamSuppressionView.as_view(),
        name="stream-suppression",
    ),
    path("templates/", templates.TemplateListView.as_view(), name="templates"),
    path("templates/<slug:name>/", templates.TemplateView.as_view(), name="template"),
    path("templates/<slug:name>/preview/", templates.PreviewView.as_view(), name="template-preview"),
    path("suppressions/", suppressions.SuppressionListView.as_view(), name="suppressions"),
    path("suppressions/export/", suppression_files.SuppressionExportView.as_view(), name="suppressions-export"),
    path("suppressions/import/", suppression_files.SuppressionImportView.as_view(), name="suppressions-import"),
    # <path:…> because an address may contain slashes, and percent-encoded ones arrive decoded.
    path("suppressions/<path:address>/", suppressions.SuppressionView.as_view(), name="suppression"),
]
