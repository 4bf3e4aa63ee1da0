"""How many bytes a recall takes: predicted from score errors, checked on held-out queries."""
