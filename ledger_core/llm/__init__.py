"""The wire formats of language models, read without trusting a byte of them: no I/O here."""
