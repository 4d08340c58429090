"""Pictures of detections, and how curves and times are drawn."""
