"""A method over a dataset: what it finds, how it scores, and what each part of it is worth."""
