"""Watching rows: server-sent events and `Prefer: wait`, without a thread or a database connection per watcher.

view ──▶ plans.py       the view checks everything, responds, and leaves a plan in the request's ASGI scope
plan ──▶ responder.py   on the event loop: holds the response, or goes on as a stream
           watchers.py    how many of these each user has
           backlog.py     what they have not taken or read, bounded
           hub.py       what is watched, and by whom; `Watch.changed()` waits for the next change
           feed.py      the process's one thread: learns of changes, reads the rows from the primary
           sources.py   how it learns of them: LISTEN on PostgreSQL, polling elsewhere
"""
