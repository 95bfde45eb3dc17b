"""Private servers for tests, run from the installed programs on free ports; servers that run already are left alone."""
