"""E-mail addresses: parsing, comparing, masking, and what DNS says about their domains. The lowest room of mail."""
