"""The serializer of a user name and a password, used by tokens/ and session/."""

from django.contrib.auth import authenticate
from django.contrib.auth.models import User
from rest_framework import serializers
from rest_framework.request import Request

from rest.openapi.parts import example
from rest.requests.fields import StringField
from rest.requests.strict import StrictSerializer


@example(username="ada", password="correct horse battery staple")  # noqa: S106 an example
class Credentials(StrictSerializer):
    """A user name and a password."""

    username = StringField(min_length=1, max_length=150)
    password = StringField(min_length=1, max_length=1000)

    def authenticate(self, request: Request) -> User:
        """The active user with these credentials. Otherwise raises an error that does not say which part was wrong."""
        data = self.validated_data
        user = authenticate(request._request, username=data["username"], password=data["password"])
        if user is None:
            raise serializers.ValidationError("Wrong user name or password.", code="wrong_credentials")
        return user
