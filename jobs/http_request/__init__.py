"""The job kind `http.request`: an HTTP call made later."""
