"""Towers as modules of torch, for methods that tune or prompt them, and the joint space."""
