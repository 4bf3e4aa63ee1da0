"""Recipes by gradient descent: the paper's recurrent network, and pairs. Needs torch."""
