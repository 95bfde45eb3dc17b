"""A batch: an invalid item is refused with its errors, and the others keep their places."""

from types import SimpleNamespace

from rest_framework.exceptions import ValidationError

from rest.requests.batch import batch_response, parse_each


def parse(item: object) -> SimpleNamespace:
    if not isinstance(item, int):
        raise ValidationError({"number": ["Not a number."]})
    return SimpleNamespace(pk=item)


def test_invalid_items_become_their_errors_in_place() -> None:
    first, refused, last = parse_each([1, "two", 3], parse)
    assert (first, last) == (SimpleNamespace(pk=1), SimpleNamespace(pk=3))
    assert refused == [{"field": "number", "code": "invalid", "detail": "Not a number."}]


def test_a_batch_response_tells_of_each_item_and_counts() -> None:
    response = batch_response(parse_each([1, "two", 3], parse), lambda pk: f"https://legwork.example/{pk}/")
    assert response.status_code == 202
    errors = [{"field": "number", "code": "invalid", "detail": "Not a number."}]
    assert response.data == {
        "results": [
            {"id": 1, "url": "https://legwork.example/1/"},
            {"errors": errors},
            {"id": 3, "url": "https://legwork.example/3/"},
        ],
        "accepted": 2,
        "refused": 1,
    }
