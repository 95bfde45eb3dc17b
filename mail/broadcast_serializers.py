"""Broadcasts as they come in; what goes out is a job."""

from rest_framework import serializers

from jobs.strict import AnyValueField, StrictSerializer
from mail.fields import StringField
from mail.importance import Importance
from mail.recipients import MOST_IN_JSON


class BroadcastRequest(StrictSerializer):
    """The body of POST mail/broadcasts/ in JSON; each recipient, {"to", "context"?}, is judged by itself."""

    template = StringField(max_length=100)
    recipients = serializers.ListField(child=AnyValueField(allow_null=True), min_length=1, max_length=MOST_IN_JSON)
    importance = serializers.ChoiceField(Importance.choices, required=False, allow_null=True)


class BroadcastUpload(StrictSerializer):
    """The body of POST mail/broadcasts/ as a form; file: CSV with a column `to`, the others are the context."""

    template = StringField(max_length=100)
    file = serializers.FileField()
    importance = serializers.ChoiceField(Importance.choices, required=False)
