"""What moves: optical flow, and networks that see clips."""
