"""What all servers of a test run have in common."""

from types import TracebackType
from typing import Self


class PrivateServer:
    """`with` starts it, and removes it with all that it holds."""

    def start(self) -> None:
        raise NotImplementedError

    def remove(self) -> None:
        raise NotImplementedError

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.remove()
