"""The monitor's own pages inside the admin."""
