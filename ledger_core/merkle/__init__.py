"""The RFC 6962 Merkle tree and its C2SP tiles: pure functions, no storage."""
