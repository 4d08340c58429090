"""What a backbone saw of a video, kept: feature files, the cache, captions, files of others."""

from openmoment.features.file import import_features, read_features, write_features

__all__ = ["import_features", "read_features", "write_features"]
