"""E-mail addresses: syntax, spelling, domains, uploaded lists."""
