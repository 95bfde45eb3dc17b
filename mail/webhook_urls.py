"""The URLs of providers' webhooks."""

from django.urls import path

from mail import webhooks

urlpatterns = [
    path("mailgun/tracking/", webhooks.tracking, name="mailgun-webhook"),
    path("anymail/<slug:provider>/tracking/", webhooks.tracking, name="webhook"),
]
