"""The attacks of Carlini and Wagner: L2, Linf and L0."""
