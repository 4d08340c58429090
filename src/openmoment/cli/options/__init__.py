"""What verbs take alike: files of moments, reviews, checkpoints, clips."""
