"""Training of methods with weights: one loop, plain files, the same result after any stop."""
