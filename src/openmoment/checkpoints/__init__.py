"""What training leaves: weights, and a card that says how they were made."""
