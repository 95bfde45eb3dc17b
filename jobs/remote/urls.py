"""The URLs of leases, below /api/v1/."""

from django.urls import path

from jobs.remote import views

urlpatterns = [
    path("leases/", views.LeaseListView.as_view(), name="leases"),
    path("leases/<str:lease_id>/", views.LeaseView.as_view(), name="lease"),
    path("leases/<str:lease_id>/success/", views.SuccessView.as_view(), name="lease-success"),
    path("leases/<str:lease_id>/failure/", views.FailureView.as_view(), name="lease-failure"),
]
