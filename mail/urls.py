"""The URLs of mail, below /api/v1/mail/."""

from django.urls import path

from mail.views import messages

urlpatterns = [
    path("messages/", messages.MessageListView.as_view(), name="messages"),
    path("messages/batch/", messages.MessageBatchView.as_view(), name="message-batch"),
    path("messages/<uuid:message_id>/", messages.MessageView.as_view(), name="message"),
    path(
        "messages/<uuid:message_id>/cancellation/",
        messages.MessageCancellationView.as_view(),
        name="message-cancellation",
    ),
    path("messages/<uuid:message_id>/resends/", messages.ResendListView.as_view(), name="message-resends"),
]
