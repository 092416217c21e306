"""The key store that the settings name."""

from __future__ import annotations

from pathlib import Path

from api.settings import PREFIX, Settings
from ledger_core.errors import SettingsError
from ledger_core.keystore.database import DatabaseKeyStore
from ledger_core.keystore.model import KeyStore
from ledger_core.keystore.vault import VaultPlace, VaultTransit
from ledger_core.keystore.wrapping import WrappedKeyStore
from ledger_core.storage.database import is_same_place


def open_key_store(settings: Settings) -> KeyStore:
    """Open it, and make it if it is not there yet; never in the ledgers' own database."""
    others = (settings.database_url, settings.signer_memory_url)
    if any(is_same_place(settings.key_store_url, other) for other in others):
        raise SettingsError(
            f"{PREFIX}KEY_STORE must be a database of its own, with backups of its own: "
            "whoever has a copy of both can read what was erased"
        )
    place = _vault(settings)
    wrapper = VaultTransit(place) if place is not None else None
    store = DatabaseKeyStore(settings.key_store_url)
    return WrappedKeyStore(store, wrapper) if wrapper is not None else store


def _vault(settings: Settings) -> VaultPlace | None:
    if not settings.vault_url:
        if settings.vault_token_file:
            raise SettingsError(f"{PREFIX}VAULT_TOKEN_FILE needs {PREFIX}VAULT_URL")
        return None
    if not settings.vault_token_file:
        raise SettingsError(f"{PREFIX}VAULT_URL needs {PREFIX}VAULT_TOKEN_FILE")
    return VaultPlace(
        url=settings.vault_url,
        key=settings.vault_key,
        token_file=Path(settings.vault_token_file),
        mount=settings.vault_mount,
        namespace=settings.vault_namespace,
        timeout_s=settings.vault_timeout_s,
    )
