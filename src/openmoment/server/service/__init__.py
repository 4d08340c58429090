"""What the requests of one folder share: its videos, reviews, jobs, and who may ask."""
