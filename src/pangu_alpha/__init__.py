"""PanGu-α (arXiv 2104.12369): text to trained model, on MindSpore."""

__version__ = "0.1.0"
