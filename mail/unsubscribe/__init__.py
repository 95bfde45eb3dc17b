"""One-click unsubscription of bulk mail (RFC 8058)."""
