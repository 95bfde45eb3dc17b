"""Reads from replicas: which replicas are good enough, and which database a request may use."""
