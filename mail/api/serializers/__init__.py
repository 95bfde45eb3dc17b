"""Requests and responses of the mail API, by resource."""
