"""Errors of an HTTP call: never to be repeated, or worth another attempt."""


class Refused(Exception):
    """http.request never makes this call; repeating it changes nothing."""


class Unreachable(Exception):
    """There was no complete response; a later attempt may get one."""
