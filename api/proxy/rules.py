"""What a call must pass before it goes out, but for budgets and rates, which the ledger decides.

The limits in force are the newest ``capture.limits/1`` of the ledger that calls are written to,
over the service's settings, looked at anew every half second. What a ``capture.stop/1`` stops, the
ledger refuses by itself.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from fnmatch import translate
from functools import lru_cache
from itertools import islice
from urllib.parse import unquote

from api.capture_settings import CaptureSettings, listed, to_microusd
from api.proxy.answers import Refusal
from api.proxy.request import Request
from ledger_core.errors import MalformedError
from ledger_core.llm import codings, loading
from ledger_core.llm.model import Asked
from ledger_core.records.types.capture_limits import CaptureLimits

_DISPOSITION = re.compile(rb"content-disposition(?=[ \t:])", re.IGNORECASE)
_FIELD = re.compile(
    rb"""[;\s]name(\*\S{0,3})?[ \t]*=[ \t]*("[^"\r\n]*"|[^;\r\n]*)""", re.IGNORECASE
)
_PARTS = 1_000
_PART_HEAD_BYTES = 4_096
_PATH_MODEL = re.compile(r"/(?:deployments|engines|models)/([^/:]+)[/:]", re.IGNORECASE)
_MODEL_KEY = re.compile(rb'"model"\s*:', re.IGNORECASE)
_MODEL_VALUE = re.compile(rb'"model"\s*:\s*"((?:[^"\\]|\\.){0,500})', re.IGNORECASE)
_FALLBACKS = frozenset({"models", "fallback", "fallbacks", "fallback_model", "fallback_models"})
_FALLBACK = re.compile(rb'"(?:models|fallbacks?|fallback_models?)"\s*:', re.IGNORECASE)
_PLAIN_CHARACTER = re.compile(
    rb"\\u00(2[d-f]|3[0-9a]|4[0-9a-f]|5[0-9abd-f]|6[0-9a-f]|7[0-9a-e])", re.IGNORECASE
)
"""An escape of what model names are made of: neither quote nor backslash."""
_ESCAPED_LETTER = re.compile(rb"\\u00[4-7]", re.IGNORECASE)


def limits_of(settings: CaptureSettings) -> CaptureLimits:
    """Return the settings as the limits that a record would set."""
    return CaptureLimits(
        budget_session_microusd=to_microusd(settings.budget_session),
        budget_agent_microusd=to_microusd(settings.budget_agent),
        budget_user_microusd=to_microusd(settings.budget_user),
        budget_credential_microusd=to_microusd(settings.budget_credential),
        budget_daily_microusd=to_microusd(settings.budget_daily),
        budget_action=settings.budget_action,
        rpm_total=settings.rate_limit_rpm,
        rpm_session=settings.rate_limit_session_rpm,
        rpm_agent=settings.rate_limit_agent_rpm,
        rpm_user=settings.rate_limit_user_rpm,
        allow_models=listed(settings.allow_models),
        deny_models=listed(settings.deny_models),
        allow_providers=listed(settings.allow_providers),
        deny_providers=listed(settings.deny_providers),
        refuse_unpriced=settings.refuse_unpriced,
    )


@dataclass(frozen=True)
class Rules:
    """The limits in force, and what a request must pass of them before the ledger is asked."""

    limits: CaptureLimits

    def check(self, request: Request, asked: Asked) -> None:
        """Raise :class:`Refusal` unless the request may go where it means to go."""
        limits, model = self.limits, request.model
        if limits.allow_models or limits.deny_models or limits.refuse_unpriced:
            check_clear(asked, request)
        providers = [request.provider, request.host]
        if model is not None and "/" in model:
            providers.append(model.partition("/")[0])
        self.check_lists(request.wire, model, providers)
        # What a path names goes before what a body does, or behind it: both must be allowed.
        named = _of_path(request.path)
        if limits.allow_models or limits.deny_models:
            find = _within if request.wire == "other" else _behind
            named += find(request.body, request.encoding)
        for each in named:
            if each != model:
                self.check_lists(request.wire, each, providers)

    def check_priced(self, request: Request) -> None:
        """Raise :class:`Refusal` if a model without a known price may not be asked."""
        if self.limits.refuse_unpriced is not True:
            return
        is_batch = request.path.rstrip("/").endswith("/batches")
        if request.model is not None or request.wire != "other" or is_batch:
            model = (request.model or "no model")[:200]
            raise Refusal("unpriced", f"the price of {model} is unknown", 403)

    def check_lists(self, wire: str, model: str | None, providers: Iterable[str]) -> None:
        """Raise :class:`Refusal` unless lists let a model through, and one who provides it."""
        _check(
            "provider_denied",
            list(providers),
            _globs(self.limits.allow_providers or ()),
            _globs(self.limits.deny_providers or ()),
        )
        if model is not None:
            allowed, denied = self.limits.allow_models or (), self.limits.deny_models or ()
            _check("model_denied", [model], _globs(allowed), _globs(denied))
        elif self.limits.allow_models and wire != "other":
            raise Refusal("model_denied", "the request names no model, and only some may be", 403)


@lru_cache(maxsize=256)
def _globs(patterns: tuple[str, ...]) -> tuple[re.Pattern[str], ...]:
    return tuple(re.compile(translate(each.lower())) for each in patterns)


def _check(
    reason: str,
    names: list[str],
    allowed: tuple[re.Pattern[str], ...],
    denied: tuple[re.Pattern[str], ...],
) -> None:
    what = reason.partition("_")[0]
    lowered = [name.lower().strip() for name in names]
    for name in lowered:
        if any(glob.match(name) for glob in denied):
            raise Refusal(reason, f"{what} {name[:200]} is denied", 403)
    if allowed and not any(glob.match(name) for glob in allowed for name in lowered):
        raise Refusal(reason, f"{what} {lowered[0][:200]} is not among those allowed", 403)


def find_model(asked: Asked, path: str, body: bytes, encoding: str = "") -> str | None:
    """Return the model that a request means, wherever it says so."""
    if asked.model is not None:
        return asked.model
    return next(iter([*_of_path(path), *_of_form(_decoded(body, encoding))]), None)


def _of_path(path: str) -> list[str]:
    return [unquote(each) for each in _PATH_MODEL.findall(path)]


def _of_form(body: bytes) -> list[str]:
    return _read_form(body)[0] if body.lstrip().startswith(b"--") else []


def _read_form(body: bytes) -> tuple[list[str], bool]:
    """Return what the fields named model hold, and whether anything is said in an odd way."""
    models: list[str] = []
    parts = list(islice(_DISPOSITION.finditer(body), _PARTS + 1))
    is_odd = len(parts) > _PARTS
    for part in parts:
        text = body[part.end() : part.end() + _PART_HEAD_BYTES].replace(b"\r\n", b"\n")
        head, _, value = text.partition(b"\n\n")
        for star, told in _FIELD.findall(head):
            name = told.strip(b" \t\"'").lower()
            is_odd = is_odd or bool(star) or b"%" in name or b"\\" in name
            if name == b"model":
                models.append(value.split(b"\n", 1)[0][:500].decode("utf-8", "replace").strip())
                is_odd = is_odd or b"transfer-encoding" in head.lower()
    return models, is_odd


def _within(body: bytes, encoding: str) -> list[str]:
    """Return the models that a batch names: anywhere within it, or in the lines of its file."""
    plain = _decoded(body, encoding)
    # Both ways: only the bytes show a name that comes twice, only the values how it is encoded.
    told = _MODEL_VALUE.findall(_PLAIN_CHARACTER.sub(_unescape, plain))
    named = [each.decode("utf-8", "replace") for each in told]
    with suppress(MalformedError):  # A form, whose files are lines; check_clear() looked at it.
        named += _models_of(loading.load(plain))
    return list(dict.fromkeys(named))


def _behind(body: bytes, encoding: str) -> list[str]:
    """Return the models that a request names to fall back on, as gateways take them."""
    plain = _decoded(body, encoding)
    if not (_FALLBACK.search(plain) or _ESCAPED_LETTER.search(plain)):
        return []
    try:
        asked = loading.load_object(plain)
    except MalformedError:
        return []  # check_clear() lets no such request through.
    found = [each for name, each in asked.items() if name.lower() in _FALLBACKS]
    return [name for each in found for name in _texts(each)]


def _texts(value: object) -> list[str]:
    """Return the texts of a list; of an object in it the model, or all that it holds."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        value = [value["model"]] if "model" in value else list(value.values())
    return [text for each in value for text in _texts(each)] if isinstance(value, list) else []


def _models_of(value: object) -> list[str]:
    """Return what members called model hold, at any depth, which was bounded when it was read."""
    if isinstance(value, list):
        return [name for each in value for name in _models_of(each)]
    if not isinstance(value, dict):
        return []
    own = [each for name, each in value.items() if name.lower() == "model"]
    return [each for each in own if isinstance(each, str)] + _models_of(list(value.values()))


def _unescape(found: re.Match[bytes]) -> bytes:
    return bytes([int(found[1], 16)])


def _decoded(body: bytes, encoding: str) -> bytes:
    """Undo a body's coding; of one that cannot be undone nothing is read."""
    try:
        return codings.decode(body, encoding)
    except MalformedError:
        return b""


def check_clear(asked: Asked, request: Request) -> None:
    """Raise :class:`Refusal` if the upstream may read another model than was judged.

    Parsers differ: in which of two members of one name counts, in whether case does, in whether
    what is called a form has to be one.
    """
    body = _decoded(request.body, request.encoding)
    if asked.parse_error is not None:
        is_form = request.wire == "other" and request.media_type.lower().startswith("multipart/")
        if not is_form or not body.lstrip().startswith(b"--"):
            raise _unclear("the request cannot be read, and not every model may be asked")
        _check_form(body)
        return
    named = len(_MODEL_KEY.findall(body))
    if named > 1 or (named and asked.model is None) or _ESCAPED_LETTER.search(body):
        _check_members(body)


def _check_members(body: bytes) -> None:
    def names(members: list[tuple[str, object]]) -> list[str]:
        return [name for name, _ in members]

    try:
        top = json.loads(body, object_pairs_hook=names)
    except ValueError:
        raise _unclear("the request cannot be read, and not every model may be asked") from None
    models = [name for name in top if name.lower() == "model"]
    if len(models) > 1:
        raise _unclear("the request names its model more than once")
    if models not in ([], ["model"]):
        raise _unclear(f"the request calls its model {models[0]!r}, which only some would read")


def _check_form(body: bytes) -> None:
    models, is_odd = _read_form(body)
    if is_odd or len(models) > 1:
        raise _unclear("the form names its model more than once, or in an odd way")


def _unclear(message: str) -> Refusal:
    return Refusal("model_denied", message, 403)
