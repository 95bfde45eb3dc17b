"""Legwork as its users meet it: a program that starts the real processes and talks to them over HTTP only."""
