"""Lines that are held are written at once, in their order."""

from rest.log_batch import one_write, write_or_hold


def test_lines_are_written_at_once_and_those_outside_by_themselves() -> None:
    written: list[str] = []
    write_or_hold(written.append, "before")
    with one_write():
        write_or_hold(written.append, "first")
        write_or_hold(written.append, "second")
        assert written == ["before"]
    write_or_hold(written.append, "after")
    assert written == ["before", "first\nsecond", "after"]


def test_without_a_line_nothing_is_written() -> None:
    with one_write():
        pass
