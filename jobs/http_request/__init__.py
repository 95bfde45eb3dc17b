"""The job kind `http.request`: an HTTP call made later (kind.py → client.py → ssrf.py)."""
