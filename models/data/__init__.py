"""Data to train and measure producers on. ``python -m bebr.models.data NAME`` builds a set and says what it holds."""
