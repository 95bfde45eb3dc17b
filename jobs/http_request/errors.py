"""Errors of an HTTP call: one fails the job, the other is worth another attempt."""


class Refused(Exception):
    """http.request never makes this call; repeating it changes nothing."""


class Unreachable(Exception):
    """There was no complete response; a later attempt may get one."""
