"""Files on disk, of whatever kind: written whole, read with care, listed, leased, row by row."""
