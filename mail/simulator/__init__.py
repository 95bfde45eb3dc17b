"""A Mailgun for development and tests: its own process, with Mailgun's HTTP API and signed webhooks.

It stands for the outside world, so nothing here imports the rest of the project. All its state is in memory.
"""
