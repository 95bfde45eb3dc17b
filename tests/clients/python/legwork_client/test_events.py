"""Server-sent events, line by line."""

from legwork_client.events import Event, EventParser


def events(parser: EventParser, *lines: str) -> list[Event]:
    return [event for line in lines for event in parser.feed(line)]


def test_an_event_ends_with_an_empty_line() -> None:
    parser = EventParser()
    assert events(parser, "event: job", "id: 7", 'data: {"a":', "data: 1}") == []
    assert events(parser, "") == [Event("job", '{"a":\n1}', "7")]
    assert parser.last_id == "7"


def test_comments_and_retry_are_no_events_and_the_last_id_stays() -> None:
    parser = EventParser()
    assert events(parser, ":", "", "retry: 2000", "", "id: 1", "data:x", "", "data: y", "") == [
        Event("message", "x", "1"),
        Event("message", "y", "1"),
    ]
