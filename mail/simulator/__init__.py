"""The Mailgun of development and tests: a process of its own that speaks Mailgun's HTTP API and sends its webhooks.

It is the outside world, so nothing here imports the rest of the project, and all of its state is in memory.
"""
