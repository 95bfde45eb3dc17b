"""The accounts by which mail is sent: which takes the next message, and how each one's health is known."""
