"""Files of rows that never change: made, opened, found again."""
