"""How a caller is known: tokens for programs, sessions with CSRF for browsers."""
