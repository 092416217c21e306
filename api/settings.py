"""Settings of the service: from the environment (``LEDGERGRID_…``) and the command line.

Nothing is read at import: ``create_app(settings)`` gets what it needs. docs/reference/settings.md
is made from this file.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from api.capture_settings import COMPAT_NAMES as CAPTURE_NAMES
from api.capture_settings import CaptureSettings
from api.report_settings import COMPAT_NAMES as REPORT_NAMES
from api.report_settings import ReportSettings
from ledger_core import limits
from ledger_core.errors import SettingsError

PREFIX = "LEDGERGRID_"
COMPAT_PREFIXES = ("AGENTLEDGER_", "AGENTICLEDGER_")
COMPAT_NAMES = CAPTURE_NAMES | REPORT_NAMES | {"host", "port", "api_key"}
"""Settings that are read under the other prefix too, where ours says nothing."""
_HOST_NAME = re.compile(r"(\*\.)?[a-z0-9_-]+(\.[a-z0-9_-]+)*|\[?[0-9a-f:.]+\]?")


class _CompatSource(EnvSettingsSource):
    """Reads the variables of setups that were made for another proxy of this kind."""

    def __init__(self, settings_cls: type[BaseSettings], prefix: str) -> None:
        super().__init__(settings_cls, env_prefix=prefix)

    def __call__(self) -> dict[str, Any]:
        found = {name: value for name, value in super().__call__().items() if name in COMPAT_NAMES}
        if url := self.env_vars.get(f"{self.env_prefix}DSN".lower()):
            found["database"] = url
        return found


class Settings(ReportSettings, CaptureSettings):
    """Everything an operator may choose."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="forbid")

    data: Path = Field(
        default=Path("data"),
        description="Folder for the signing keys, the signer's memory, the key store and the "
        "embedded database.",
    )
    database: SecretStr = Field(
        default=SecretStr(""),
        description="`sqlite:///FILE` or `postgresql://USER@HOST/NAME`. "
        "Empty: `ledger.db` in the data folder.",
    )
    signer_memory: SecretStr = Field(
        default=SecretStr(""),
        description="Database that remembers what was signed, apart from the ledger's own; "
        "replicas share one. Empty: `signer.db` in the data folder.",
    )
    key_store: SecretStr = Field(
        default=SecretStr(""),
        description="Database that holds the keys payloads are sealed with, apart from the "
        "ledgers' own and from its backups; replicas on several machines must share one. Empty: "
        "`keys.db` in the data folder.",
    )
    vault_url: str = Field(
        default="",
        description="HashiCorp Vault (or OpenBao) whose transit engine wraps the keys in the key "
        "store: `https://HOST:8200`. Empty: they are not wrapped.",
    )
    vault_token_file: str = Field(
        default="",
        description="File with the token for it, read anew for each request, as Vault's agent "
        "keeps one.",
    )
    vault_key: str = Field(
        default="ledgergrid",
        pattern=r"^[A-Za-z0-9._-]{1,64}$",
        description="Name of the transit key that wraps.",
    )
    vault_mount: str = Field(
        default="transit",
        pattern=r"^[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)*$",
        max_length=200,
        description="Path the transit engine is mounted at.",
    )
    vault_namespace: str = Field(
        default="",
        pattern=r"^[!-~]*$",
        max_length=200,
        description="Vault's namespace, where it has any.",
    )
    vault_timeout_s: float = Field(
        default=5.0, ge=0.1, le=120, description="How long Vault may take to answer."
    )
    host: str = Field(default="127.0.0.1", description="Address to listen on.")
    api_key: SecretStr = Field(
        default=SecretStr(""),
        description="Key that agents and readers of calls present (docs/reference/security.md): a "
        "long random secret. Needed wherever `HOST` is not a loopback address. Empty: none.",
    )
    api_key_in_query: bool = Field(
        default=False,
        description="Whether the key may also stand in a query as `api_key=`, where browsers and "
        "proxies between keep it.",
    )
    allowed_hosts: str = Field(
        default="",
        max_length=4096,
        description="More hosts that the service goes by and whose pages may write to it, with "
        "commas between: `ledger.example.org`, `*.example.org`; without ports.",
    )
    port: int = Field(default=8080, ge=0, le=65535, description="Port to listen on; 0 picks one.")
    workers: int = Field(
        default=1, ge=1, le=64, description="Processes that serve; each checks and batches."
    )
    keeper: Literal["process", "thread"] = Field(
        default="process",
        description="Where `serve` fills what is searched: in one process of its own, or in "
        "threads of those that serve, which then have less time for requests.",
    )
    origin_prefix: str = Field(
        default="",
        max_length=limits.ORIGIN_CHARS - limits.LEDGER_NAME_CHARS - 1,
        pattern=r"^[!-*,-~]*$",
        description="What a new ledger's origin begins with, before `/` and its name: where the "
        "log is found, without a scheme. Empty: a name derived from the service's keys.",
    )
    capture_ledger: str = Field(
        default="calls",
        pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$",
        description="Ledger that calls through the proxy are written to; made upon the first.",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="What is logged; `debug` logs every request."
    )
    max_bodies_bytes: int = Field(
        default=limits.POOL_BYTES,
        ge=limits.BATCH_BYTES,
        description="Bytes of request bodies a process holds at once; beyond it answers 503.",
    )
    max_stream_readers: int = Field(
        default=limits.STREAM_READERS,
        ge=1,
        le=limits.STREAM_READERS,
        description="Live streams a process serves at once; beyond it answers 503.",
    )
    body_timeout_s: float = Field(
        default=60.0, gt=0, le=3600, description="How long a request body may take to arrive."
    )
    shutdown_s: int = Field(
        default=10, ge=1, le=600, description="How long requests may take to end at a shutdown."
    )

    retention_interval_s: int = Field(
        default=3600,
        ge=0,
        le=31 * 86_400,
        description="How often the service orders what is due by schedule to be erased; 0: never "
        "by itself, only upon `ledgergrid retention run`.",
    )
    key_backup_days: int = Field(
        default=0,
        ge=0,
        le=36_600,
        description="Days after which no backup of the key store is left that holds a key: the "
        "horizon that `erasure.done/1` states. 0: it states none.",
    )

    witness_name: str = Field(
        default="",
        max_length=limits.ORIGIN_CHARS,
        pattern=r"^[!-*,-~]*$",
        description="Name under which this service cosigns checkpoints of other logs: a host and "
        "path that it is found at, without a scheme. Empty: it is no witness.",
    )
    witness_logs: str = Field(
        default="",
        description="File with the logs to cosign, in the form `logs/v0` (docs/spec/witness.md).",
    )

    witness_policy: str = Field(
        default="",
        description="C2SP tlog-policy file with the witnesses that cosign this service's ledgers, "
        "their URLs, and the quorum that makes a checkpoint *witnessed*. Empty: none is asked.",
    )
    witness_interval_s: float = Field(
        default=1.0,
        ge=0.05,
        le=3600,
        description="How often a ledger's checkpoint is sent at most.",
    )
    witness_timeout_s: float = Field(
        default=10.0, ge=0.1, le=120, description="How long a witness may take to answer."
    )
    witness_late_s: float = Field(
        default=60.0,
        ge=1,
        le=86_400,
        description="How long entries may lack their quorum before a ledger is *not witnessed*.",
    )

    @field_validator("api_key")
    @classmethod
    def _check_api_key(cls, value: SecretStr) -> SecretStr:
        if not re.fullmatch(r"[!-~]{0,200}", value.get_secret_value()):
            raise ValueError("200 printable ASCII characters at most, without spaces")
        return value

    @field_validator("allowed_hosts")
    @classmethod
    def _check_allowed_hosts(cls, value: str) -> str:
        if not all(_HOST_NAME.fullmatch(name) for name in _listed(value)):
            raise ValueError("names as ledger.example.org or *.example.org, commas between")
        return value

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Read the command line first, then our variables, then the compatible ones."""
        compatible = [_CompatSource(settings_cls, prefix) for prefix in COMPAT_PREFIXES]
        return init_settings, env_settings, *compatible

    @property
    def allowed_host_names(self) -> list[str]:
        """The hosts that ``allowed_hosts`` lists, without brackets."""
        return [name.strip("[]") for name in _listed(self.allowed_hosts)]

    @property
    def database_url(self) -> str:
        """The ledgers' database; may hold a password."""
        return self.database.get_secret_value() or f"sqlite:///{self.data / 'ledger.db'}"

    @property
    def signer_memory_url(self) -> str:
        """The signer's memory; may hold a password."""
        return self.signer_memory.get_secret_value() or f"sqlite:///{self.data / 'signer.db'}"

    @property
    def key_store_url(self) -> str:
        """The key store; may hold a password."""
        return self.key_store.get_secret_value() or f"sqlite:///{self.data / 'keys.db'}"

    @property
    def keyring_file(self) -> Path:
        """The secret that all keys of the service are derived from."""
        return self.data / "keyring"

    @property
    def sqlite_file(self) -> Path | None:
        """The database's file, where it is one."""
        return _file_of(self.database_url)

    @property
    def signer_memory_file(self) -> Path | None:
        """The signer's memory, where it is a file."""
        return _file_of(self.signer_memory_url)

    @property
    def key_store_file(self) -> Path | None:
        """The key store, where it is a file."""
        return _file_of(self.key_store_url)


def _listed(value: str) -> list[str]:
    return [name.strip().lower() for name in value.split(",") if name.strip()]


def _file_of(url: str) -> Path | None:
    scheme, _, path = url.partition(":///")
    return Path(path) if scheme.startswith("sqlite") else None


def load_settings(**chosen: Any) -> Settings:
    """Read the environment; what the command line chose (not None) goes first.

    Raises :class:`SettingsError`, which never repeats a value: it may be a password.
    """
    try:
        return Settings(**{name: value for name, value in chosen.items() if value is not None})
    except ValidationError as error:
        first = error.errors(include_input=False, include_context=False, include_url=False)[0]
        name = "_".join(str(part) for part in first["loc"])
        raise SettingsError(f"{PREFIX}{name.upper()}: {first['msg']}") from None


def to_environment(settings: Settings) -> dict[str, str]:
    """Return the variables that give a worker process these same settings."""
    return {
        PREFIX + name.upper(): value.get_secret_value()
        if isinstance(value, SecretStr)
        else str(value)
        for name in Settings.model_fields
        if (value := getattr(settings, name)) is not None
    }
