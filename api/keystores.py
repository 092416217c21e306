"""The key store that the settings name."""

from __future__ import annotations

from api.settings import PREFIX, Settings
from ledger_core.errors import SettingsError
from ledger_core.keystore.database import DatabaseKeyStore
from ledger_core.keystore.model import KeyStore


def open_key_store(settings: Settings) -> KeyStore:
    """Open it, and make it if it is not there yet; never in the ledgers' own database."""
    if settings.key_store_url in (settings.database_url, settings.signer_memory_url):
        raise SettingsError(
            f"{PREFIX}KEY_STORE must be a database of its own, with backups of its own: "
            "whoever has a copy of both can read what was erased"
        )
    return DatabaseKeyStore(settings.key_store_url)
