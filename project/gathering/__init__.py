"""The hot calls of the API, answered on the event loop: many requests share one statement.

Every call has a plain view, which defines its answers. Here only the usual, successful case is repeated; whatever else
a request contains or leads to is left to the plain view.
"""
