"""Worker processes: claim jobs, run their handlers, record the outcomes."""
