"""What two or more trained methods share, on torch."""
