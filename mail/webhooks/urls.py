"""The URLs of providers' webhooks."""

from django.urls import path

from mail.webhooks import views

urlpatterns = [
    path("mailgun/tracking/", views.tracking, name="mailgun-webhook"),
    path("anymail/<slug:provider>/tracking/", views.tracking, name="webhook"),
]
