"""The webhook: only addresses that were judged are asked, and no other side holds anything up."""

from __future__ import annotations

import asyncio
import datetime
import ipaddress
import logging
import ssl
import time
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from api.alerts.targets import (
    Address,
    Again,
    Undelivered,
    check_address,
    parse_target,
    resolve,
)
from api.alerts.webhook import Pace, Webhook
from ledger_core.errors import SettingsError
from tests.support.webhooks import Hook, hooked

QUICK = Pace(try_s=1.0, pause_s=0.01)
PLAIN = {
    "type": "high_cost", "message": "m", "value": 1.5, "threshold": 1.0, "action_id": "a",
    "session_id": "s", "agent_name": None, "timestamp": "2026-08-01T10:11:12.345Z",
}  # fmt: skip


def make(hook: Hook, path: str = "/services/T0/SECRET?k=v", pace: Pace = QUICK) -> Webhook:
    target = parse_target(f"http://127.0.0.1:{hook.port}{path}", allows_private=True)
    return Webhook(target, pace=pace)


def deliver(webhook: Webhook, tries: int = 4) -> None:
    asyncio.run(webhook.deliver(PLAIN, "key", tries))


def test_an_alert_is_posted_as_json_to_the_very_path() -> None:
    with hooked() as hook:
        deliver(make(hook))
    assert hook.bodies == [PLAIN]
    assert hook.paths == ["/services/T0/SECRET?k=v"]
    assert hook.hosts == [f"127.0.0.1:{hook.port}"]


@pytest.mark.parametrize("status", [500, 503, 429, 408])
def test_what_may_pass_is_tried_again(status: int) -> None:
    with hooked() as hook:
        hook.statuses = [status, status, 204]
        deliver(make(hook))
    assert len(hook.bodies) == 3


def test_tries_are_bounded() -> None:
    with hooked() as hook:
        hook.statuses = [500]
        with pytest.raises(Undelivered, match=r"127\.0\.0\.1 answered 500"):
            deliver(make(hook))
    assert len(hook.bodies) == 4


@pytest.mark.parametrize("status", [301, 302, 307, 400, 401, 404, 410])
def test_a_refusal_is_not_tried_again_and_no_redirect_is_followed(status: int) -> None:
    with hooked() as hook, hooked() as elsewhere:
        hook.statuses = [status]
        hook.headers = {"Location": f"http://127.0.0.1:{elsewhere.port}/"}
        with pytest.raises(Undelivered):
            deliver(make(hook))
    assert (len(hook.bodies), elsewhere.bodies) == (1, [])


def test_the_other_side_may_say_when_to_come_back() -> None:
    with hooked() as hook:
        hook.statuses, hook.headers = [429, 200], {"Retry-After": "1"}
        began_s = time.monotonic()
        deliver(make(hook))
    assert time.monotonic() - began_s > 0.9


def test_a_side_that_hangs_or_drips_is_left_after_the_time_that_a_try_may_take() -> None:
    for name in ("hang_s", "drips"):
        with hooked() as hook:
            setattr(hook, name, 5.0 if name == "hang_s" else True)
            with pytest.raises(Again, match="took longer than"):
                deliver(make(hook, pace=Pace(try_s=0.3)), tries=1)


def test_a_flood_of_an_answer_is_not_read() -> None:
    with hooked() as hook:
        hook.floods = True
        began_s = time.monotonic()
        deliver(make(hook))
        assert time.monotonic() - began_s < 30


def test_neither_errors_nor_logs_say_the_url(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    with hooked() as hook:
        hook.statuses = [500]
        with pytest.raises(Undelivered) as caught:
            deliver(make(hook), tries=2)
    assert "SECRET" not in f"{caught.value!r} {caught.value.__cause__!r}" + caplog.text


# --- addresses ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    ["ftp://example.org/", "http://example.org/", "https://", "https://user:pw@example.org/x",
     "example.org", "https://exa mple.org/", "file:///etc/passwd", "https://[::1", "//x"],
)  # fmt: skip
def test_a_url_that_is_none_for_a_webhook_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(SettingsError) as caught:
        parse_target(url)
    assert "pw" not in str(caught.value)


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "::1", "10.0.0.1", "172.16.0.1", "192.168.1.1", "100.64.0.1", "fc00::1",
     "::ffff:10.0.0.1", "64:ff9b::a00:1", "198.18.0.1"],
)  # fmt: skip
def test_private_addresses_are_asked_only_where_that_is_allowed(address: str) -> None:
    public = parse_target("https://hooks.example/x")
    private = parse_target("https://hooks.example/x", allows_private=True)
    with pytest.raises(Undelivered, match="private network"):
        check_address(ipaddress.ip_address(address), public)
    check_address(ipaddress.ip_address(address), private)


@pytest.mark.parametrize(
    "address",
    ["169.254.169.254", "169.254.1.1", "fe80::1", "fd00:ec2::254", "100.100.100.200", "0.0.0.0",
     "::", "224.0.0.1", "ff02::1", "255.255.255.255", "240.0.0.1", "::ffff:169.254.169.254",
     "64:ff9b::a9fe:a9fe", "2002:a00:1::1", "2001:0:a00:1::1"],
)  # fmt: skip
def test_metadata_and_addresses_that_are_nobodys_are_never_asked(address: str) -> None:
    target = parse_target("https://hooks.example/x", allows_private=True)
    with pytest.raises(Undelivered, match="no webhook is asked"):
        check_address(ipaddress.ip_address(address), target)


def test_addresses_of_the_internet_are_asked() -> None:
    target = parse_target("https://hooks.example/x")
    for address in ("8.8.8.8", "2606:4700::1111"):
        check_address(ipaddress.ip_address(address), target)


def test_without_tls_only_this_machine_is_asked() -> None:
    target = parse_target("http://hooks.example/x", allows_private=True)
    with pytest.raises(Undelivered, match="without TLS"):
        check_address(ipaddress.ip_address("10.0.0.1"), target)


def fake_look_up(*answers: str) -> Any:
    """Give one of the answers after the other, as a name server that changes its mind does."""
    left = list(answers)

    async def look_up(host: str, port: int) -> list[Address]:
        said = left.pop(0) if len(left) > 1 else left[0]
        return [ipaddress.ip_address(each) for each in said.split()]

    return look_up


def test_a_host_one_of_whose_addresses_is_private_is_not_asked() -> None:
    target = parse_target("https://hooks.example/x")
    with pytest.raises(Undelivered, match=r"hooks\.example leads into a private network"):
        asyncio.run(resolve(target, fake_look_up("8.8.8.8 10.0.0.1")))


def test_a_name_that_leads_nowhere_is_tried_again_later() -> None:
    with pytest.raises(Again, match="leads to no address"):
        asyncio.run(resolve(parse_target("https://nothing.invalid/")))


def test_the_connection_goes_to_the_address_that_was_judged(tmp_path: Path) -> None:
    """A name that leads elsewhere at the second look is looked up once a try, and no more."""
    server, client = make_tls(tmp_path, "hooks.example")
    with hooked(server) as hook:
        target = parse_target(f"https://hooks.example:{hook.port}/x", allows_private=True)
        look_up = fake_look_up("127.0.0.1", "169.254.169.254")
        webhook = Webhook(target, pace=QUICK, look_up=look_up, tls=client)
        deliver(webhook, tries=1)
        with pytest.raises(Undelivered, match="no webhook is asked"):
            deliver(webhook, tries=1)
    assert hook.hosts == [f"hooks.example:{hook.port}"]


def test_a_certificate_of_another_name_is_not_accepted(tmp_path: Path) -> None:
    server, client = make_tls(tmp_path, "other.example")
    with hooked(server) as hook:
        target = parse_target(f"https://hooks.example:{hook.port}/x", allows_private=True)
        webhook = Webhook(target, pace=QUICK, look_up=fake_look_up("127.0.0.1"), tls=client)
        with pytest.raises(Undelivered, match="ConnectError"):
            deliver(webhook, tries=1)
    assert hook.bodies == []


def make_tls(folder: Path, name: str) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Return a server's TLS under this name, and that of a client who trusts it."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    both = folder / "tls.pem"
    both.write_bytes(private + pem)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(both)
    return server, ssl.create_default_context(cadata=pem.decode())
