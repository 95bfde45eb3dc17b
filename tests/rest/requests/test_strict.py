"""Strict serializers, and validating by one instance a thread."""

from typing import Any

import pytest
from rest_framework import serializers

from rest.requests.strict import StrictSerializer, validated


class Order(StrictSerializer):
    name = serializers.CharField()
    count = serializers.IntegerField(default=1)

    def validate(self, order: dict[str, Any]) -> dict[str, Any]:
        if order["name"] != self.initial_data["name"]:
            raise serializers.ValidationError("the data of another call")
        return order


@pytest.mark.parametrize("data", [None, [], "", {}, {"name": []}, {"name": "a", "more": 1}, {"name": " a "}])
def test_errors_are_the_same_as_those_of_drf(data: object) -> None:
    with pytest.raises(serializers.ValidationError) as by_drf:
        Order(data=data).is_valid(raise_exception=True)
    with pytest.raises(serializers.ValidationError) as by_us:
        validated(Order, data)
    assert by_us.value.get_full_details() == by_drf.value.get_full_details()


def test_calls_do_not_share_state() -> None:
    first = validated(Order, {"name": "a", "count": 2})
    assert validated(Order, {"name": "b"}) == {"name": "b", "count": 1}
    with pytest.raises(serializers.ValidationError):
        validated(Order, {"count": "x"})
    assert validated(Order, {"name": "c"}) == {"name": "c", "count": 1}
    assert first == {"name": "a", "count": 2}
