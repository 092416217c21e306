"""The proxy: agents call models through it, byte for byte, and every call is on the record."""
