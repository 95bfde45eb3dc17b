"""Starts Legwork's real processes and uses them over HTTP only, as a client would."""
