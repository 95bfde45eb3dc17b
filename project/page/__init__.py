"""The page at /: jobs and mail in a browser. Its scripts are a client of the HTTP API like any other."""
