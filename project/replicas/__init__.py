"""The pool of read replicas: which are good enough, and which database a request may use."""
