"""A user name and a password as the API takes them."""

from typing import NoReturn

from django.contrib.auth import authenticate
from django.contrib.auth.models import User
from rest_framework import serializers
from rest_framework.request import Request

from rest.strict import StrictSerializer


class Credentials(StrictSerializer):
    """What a login takes."""

    username = serializers.CharField(min_length=1, max_length=150)
    password = serializers.CharField(min_length=1, max_length=1000, trim_whitespace=False)

    def login_of(self, request: Request) -> User:
        """The active user these belong to; otherwise one and the same error, which does not say what was wrong."""
        data = self.validated_data
        user = authenticate(request._request, username=data["username"], password=data["password"])
        return user or _refuse()


def _refuse() -> NoReturn:
    raise serializers.ValidationError("Wrong user name or password.", code="wrong_credentials")
