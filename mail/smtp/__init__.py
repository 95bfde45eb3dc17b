"""Reads the SMTP replies of receiving servers, for events and for suppression lists. Pure."""
