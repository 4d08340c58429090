"""Models of an image tower and a text tower: those of open_clip and of transformers."""
