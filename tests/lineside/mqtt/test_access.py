"""Passwords, rights and certificates at real brokers."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from lineside.mqtt import Delivery
from tests.support.broker import Mosquitto, wait_for
from tests.support.clients import Connect, Inbox, send
from tests.support.pki import Pki, broker_certificate, make_pki
from tests.support.program import program

PASSWORDS = {"passwords": "", "acl": "user ann\ntopic read allowed/#\ntopic write allowed/#\n"}


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[Mosquitto]:
    """A broker that knows ann, whose password is `right secret`, and lets her write allowed/#."""
    program("mosquitto_passwd", "mosquitto")
    folder = tmp_path / "broker"
    broker = Mosquitto(
        folder,
        "allow_anonymous false",
        f"password_file {folder / 'passwords'}",
        f"acl_file {folder / 'acl'}",
        files=PASSWORDS,
    )
    command = ["mosquitto_passwd", "-b", str(folder / "passwords"), "ann", "right secret"]
    subprocess.run(command, check=True, capture_output=True)
    (tmp_path / "right").write_text("right secret\n")
    (tmp_path / "wrong").write_text("wrong secret\n")
    with broker:
        yield broker


@pytest.mark.broker
@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_a_refused_password_is_one_line_without_the_password(
    guarded: Mosquitto,
    tmp_path: Path,
    connect: Connect,
    caplog: pytest.LogCaptureFixture,
    protocol: str,
) -> None:
    password = str(tmp_path / "wrong")
    client = connect(guarded.url, username="ann", password_file=password, protocol=protocol)
    assert not client.wait_connected(5)
    assert client.refused
    line = f"broker 127.0.0.1:{guarded.port} refuses the password of user 'ann' ("
    wait_for(lambda: (client.error or "").startswith(line), what=line)
    # It keeps trying, with the password that is in the file by then.
    (tmp_path / "wrong").write_text("right secret")
    wait_for(lambda: client.connected)
    assert not client.refused
    assert "secret" not in caplog.text


@pytest.mark.broker
def test_a_broker_that_wants_a_password_says_so(guarded: Mosquitto, connect: Connect) -> None:
    client = connect(guarded.url)
    assert not client.wait_connected(5)
    wait_for(lambda: "wants a user name and a password" in (client.error or ""))


@pytest.mark.broker
def test_a_missing_password_file_is_named(broker: Mosquitto, connect: Connect) -> None:
    client = connect(broker.url, username="ann", password_file="/no/such/file")  # noqa: S106
    wait_for(lambda: "/no/such/file can't be read: No such file" in (client.error or ""))


@pytest.mark.broker
@pytest.mark.parametrize(("protocol", "ok"), [("5", False), ("3.1.1", True)])
def test_what_the_acl_forbids_is_no_success_under_mqtt_5(
    guarded: Mosquitto, tmp_path: Path, connect: Connect, protocol: str, *, ok: bool
) -> None:
    """Under 3.1.1 mosquitto acknowledges it, which is why results wait for their echo there."""
    who = {"username": "ann", "password_file": str(tmp_path / "right"), "protocol": protocol}
    inbox = Inbox(connect, guarded.url, "allowed/#", "forbidden/#", **who)
    client = connect(guarded.url, **who)
    forbidden = send(client, "forbidden/b", b"1")
    assert forbidden == Delivery(ok=ok, reason="Success" if ok else "Not authorized")
    assert send(client, "allowed/b", b"2").ok
    wait_for(lambda: inbox.payloads == [b"2"])


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return make_pki(tmp_path_factory.mktemp("pki") / "pki")


def tls(pki: Pki, *more: str) -> tuple[str, ...]:
    return (
        f"cafile {pki.ca}",
        f"certfile {pki.broker}",
        f"keyfile {pki.broker_key}",
        *more,
    )


@pytest.mark.broker
def test_tls_with_an_authority_of_ones_own(tmp_path: Path, pki: Pki, connect: Connect) -> None:
    with Mosquitto(tmp_path / "broker", *tls(pki)) as broker:
        url = broker.url.replace("mqtt:", "mqtts:")
        client = connect(url, ca_file=str(pki.ca))
        assert client.wait_connected(5), client.error
        assert send(client, "a/b", b"x" * 100_000).ok

        stranger = connect(url, ca_file=str(pki.stranger), client_id="2")
        wait_for(lambda: "is not trusted" in (stranger.error or ""))
        assert "check ca_file" in (stranger.error or "")
        assert stranger.fault is None

        named = connect(url.replace("127.0.0.1", "localhost"), ca_file=str(pki.ca), client_id="3")
        wait_for(lambda: "Hostname mismatch" in (named.error or ""))

        system = connect(url, client_id="4")
        wait_for(lambda: "set ca_file to the authority" in (system.error or ""))

        key = connect(url, ca_file=str(pki.broker_key), client_id="5")
        wait_for(lambda: "holds no certificate" in (key.error or ""))

        plain = connect(broker.url, client_id="6")
        wait_for(lambda: "perhaps it speaks only TLS there" in (plain.error or ""))
        assert not any(c.connected for c in (stranger, named, system, key, plain))


@pytest.mark.broker
@pytest.mark.parametrize(
    ("begins_in_days", "fault", "says"),
    [
        (1, "cert_not_yet_valid", "certificate is not yet valid"),
        (-2, "cert_expired", "certificate has expired"),
    ],
)
def test_what_a_wrong_clock_does_to_tls_has_a_name_and_passes(
    tmp_path: Path, pki: Pki, connect: Connect, begins_in_days: int, fault: str, says: str
) -> None:
    """As on a device that starts in 1970, and gets the time only later."""
    wrong = broker_certificate(pki, tmp_path / "wrong.pem", begins_in_days=begins_in_days)
    lines = (f"cafile {pki.ca}", f"certfile {wrong}", f"keyfile {pki.broker_key}")
    broker = Mosquitto(tmp_path / "broker", *lines)
    with broker:
        client = connect(broker.url.replace("mqtt:", "mqtts:"), ca_file=str(pki.ca))
        wait_for(lambda: client.fault == fault, what=fault)
        assert f"is refused: {says} ({fault}). It is " in (client.error or "")
        assert "set its clock" in (client.error or "")
        assert client.connections == 0
    wrong.write_bytes(pki.broker.read_bytes())
    with broker:
        assert client.wait_connected(10), client.error
        assert (client.fault, client.connections) == (None, 1)


@pytest.mark.broker
def test_tls_where_there_is_none(broker: Mosquitto, pki: Pki, connect: Connect) -> None:
    client = connect(broker.url.replace("mqtt:", "mqtts:"), ca_file=str(pki.ca))
    wait_for(lambda: "speaks no TLS there" in (client.error or ""))
    assert not client.connected


@pytest.mark.broker
def test_a_client_certificate(tmp_path: Path, pki: Pki, connect: Connect) -> None:
    lines = tls(pki, "require_certificate true", "use_identity_as_username true")
    with Mosquitto(tmp_path / "broker", *lines) as broker:
        url = broker.url.replace("mqtt:", "mqtts:")
        ca = str(pki.ca)
        client = connect(url, ca_file=ca, cert_file=str(pki.client), key_file=str(pki.client_key))
        assert client.wait_connected(5), client.error
        wait_for(lambda: "u'client'" in broker.log)

        without = connect(url, ca_file=ca, client_id="2")
        wait_for(lambda: "wants a client certificate" in (without.error or ""))

        mixed = connect(
            url, ca_file=ca, cert_file=str(pki.client), key_file=str(pki.broker_key), client_id="3"
        )
        wait_for(lambda: "are no certificate and its private key" in (mixed.error or ""))
