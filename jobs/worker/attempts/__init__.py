"""One attempt at a claimed job: how its handler is run, interrupted, and its outcome recorded."""
