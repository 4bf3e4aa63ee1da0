"""The default recipe: closed form, then alternating least squares. Needs numpy only."""
