"""What compiling and rendering templates may cost, and the errors that end it."""

import time

MAX_CHARACTERS = 1024 * 1024
"""Of a source, of a result, and of any value in between."""
RENDER_SECONDS = 0.5
"""CPU time for all templates that share a budget, to compile and to render them."""
UNSUBSCRIBE_URL = "unsubscribe_url"
"""A variable that only bulk mail has. Other mail that shows it is refused: its link would lead nowhere."""


class BadTemplate(ValueError):
    """The template is broken, or cannot be rendered with this context. The message is a sentence that says why."""


class MissingVariable(BadTemplate):
    """The template shows a variable that the context lacks, and has no default for it."""

    def __init__(self, name: str) -> None:
        where = "only bulk mail has it" if name == UNSUBSCRIBE_URL else "the context does not have it"
        super().__init__(f"The template needs {name}, and {where}.")
        self.name = name


class RenderBudget:
    """Bounds what templates cost: CPU time in total, characters per result. spend() raises BadTemplate beyond that."""

    def __init__(self, seconds: float = RENDER_SECONDS) -> None:
        self.seconds_left = seconds
        self.characters = 0
        self.deadline = 0.0

    def start(self) -> None:
        """Raises BadTemplate if all of it is spent."""
        self.characters = 0
        self.deadline = time.thread_time() + self.seconds_left
        self.spend()

    def stop(self) -> None:
        self.seconds_left = self.deadline - time.thread_time()

    def spend(self, characters: int = 0) -> None:
        self.characters += characters
        if self.characters > 10 * MAX_CHARACTERS or time.thread_time() > self.deadline:
            raise BadTemplate("It takes too long to render, or the templates of the request do together.")
