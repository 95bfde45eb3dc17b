"""Authentication: tokens for programs, sessions with CSRF protection for browsers."""
