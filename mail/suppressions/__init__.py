"""Suppressed addresses: import and export, lifting, and the providers' own lists."""
