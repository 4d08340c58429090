"""Frames in words: by the classifier's labels, by BLIP, by CoCa."""
