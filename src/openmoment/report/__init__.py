"""Moments to look at: a picture (`plot`), and a page that plays them (`page`)."""
