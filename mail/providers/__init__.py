"""The provider accounts that mail is sent with: which one takes the next message, and how each is doing."""
