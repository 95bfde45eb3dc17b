"""Sending one message: build it, call a provider, classify what came of it, record it."""
