"""Reading and writing detections in the formats that other tools speak."""
