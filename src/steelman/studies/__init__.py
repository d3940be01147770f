"""The documents' studies, reproduced through the public API."""
