"""Where data keys live: outside the ledgers' database, and outside its backups."""
