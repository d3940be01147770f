"""Common corruptions, and the attack that is the worst of them."""
