"""The filters of the list of messages."""

import django_filters

from mail.addresses.normalize import MAX_ADDRESS_LENGTH, ascii_address
from mail.importance import Importance
from mail.models import Message
from mail.models.queryset import MessageQuerySet
from mail.status import Status
from rest.requests.filters import ChoiceFilter, ChoicesFilter, TextFilter, TimeFilter, UUIDFilter


class MessageFilter(django_filters.FilterSet):  # type: ignore[misc]
    """?status= (repeatable), ?to= (a bare address), ?tag=, ?importance=, ?stream=, ?broadcast= (its job's id),
    ?created_after=, ?created_before=.
    """

    status = ChoicesFilter(Status.choices)
    to = TextFilter(method="filter_recipient")
    tag = TextFilter(method="filter_tag")
    importance = ChoiceFilter(Importance.choices)
    stream = TextFilter()
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
