"""Query parameters that filter the list of messages. An empty value is an error, never "no filter"."""

from typing import Any

import django_filters
from django import forms
from django.core.exceptions import ValidationError

from jobs.api.filters import TimeFilter
from mail.addresses.normalize import MAX_ADDRESS_LENGTH, ascii_address
from mail.importance import Importance
from mail.models import Message
from mail.models.queryset import MessageQuerySet
from mail.status import Status


class ChoiceField(django_filters.fields.ChoiceField):  # type: ignore[misc]
    def to_python(self, value: object) -> str:
        if value == "":
            raise ValidationError(self.error_messages["invalid_choice"], "invalid_choice", {"value": value})
        choice: str = super().to_python(value)
        return choice


class ChoiceFilter(django_filters.ChoiceFilter):  # type: ignore[misc]
    field_class = ChoiceField


class UUIDField(forms.UUIDField):
    def to_python(self, value: Any) -> Any:
        if value == "":
            raise ValidationError(self.error_messages["invalid"], "invalid")
        return super().to_python(value)


class UUIDFilter(django_filters.UUIDFilter):  # type: ignore[misc]
    field_class = UUIDField


class TextField(forms.CharField):
    def to_python(self, value: Any) -> Any:
        if value == "":
            raise ValidationError(self.error_messages["required"], "invalid")
        return super().to_python(value)


class CharFilter(django_filters.CharFilter):  # type: ignore[misc]
    field_class = TextField


class MessageFilter(django_filters.FilterSet):  # type: ignore[misc]
    """?status= (repeatable), ?to= (a bare address), ?tag=, ?importance=, ?stream=, ?broadcast= (its job's id),
    ?created_after=, ?created_before=.
    """

    status = django_filters.MultipleChoiceFilter(choices=Status.choices)
    to = django_filters.CharFilter(method="filter_recipient")
    tag = django_filters.CharFilter(method="filter_tag")
    importance = ChoiceFilter(choices=Importance.choices)
    stream = CharFilter()
    broadcast = UUIDFilter(field_name="broadcast_id")
    created_after = TimeFilter(field_name="created_at", lookup_expr="gte")
    created_before = TimeFilter(field_name="created_at", lookup_expr="lt")

    class Meta:
        model = Message
        fields = ("status", "to", "tag", "importance", "stream", "broadcast", "created_after", "created_before")

    def filter_recipient(self, messages: MessageQuerySet, name: str, value: str) -> MessageQuerySet:
        return messages.filter(address=ascii_address(value[:MAX_ADDRESS_LENGTH]))

    def filter_tag(self, messages: MessageQuerySet, name: str, value: str) -> MessageQuerySet:
        return messages.tagged(value)
