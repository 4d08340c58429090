"""Where weights are found: in the user's caches, never by a download."""
