"""Sending one message: resolve an ambiguous attempt, choose a provider, call it, classify and record the outcome."""
