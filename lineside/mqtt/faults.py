"""What goes wrong between a client and its broker, in one line for a person.

Each function gives a text that names the broker and the way out. None holds a secret.
"""

from __future__ import annotations

import re
import socket
import ssl
from datetime import datetime, timezone
from typing import Final

from lineside.settings import MqttSettings

BAD_CREDENTIALS: Final = {134, 135}
"""MQTT 5 reason codes of a CONNACK: bad user name or password, and not authorized."""

UNSUPPORTED_VERSION: Final = 132
TAKEN_OVER: Final = 142

CERT_FAULTS: Final = {9: "cert_not_yet_valid", 10: "cert_expired"}
"""What a wrong clock leads to, by OpenSSL's X509_V_ERR_CERT_NOT_YET_VALID and _HAS_EXPIRED."""


def address(mqtt: MqttSettings) -> str:
    """The broker as people write it: host:port."""
    host = f"[{mqtt.host}]" if ":" in mqtt.host else mqtt.host
    return f"{host}:{mqtt.port}"


def fault_name(error: BaseException | None) -> str | None:
    """What programs call the reason why a connection failed, where it has a name.

    Args:
        error: what was raised, or what that was raised from.

    Returns:
        `cert_not_yet_valid` or `cert_expired`; None for all else.
    """
    while error is not None:
        if isinstance(error, ssl.SSLCertVerificationError):
            return CERT_FAULTS.get(error.verify_code)
        error = error.__cause__
    return None


def refused_line(mqtt: MqttSettings, code: int, reason: str) -> str:
    """Why the broker answered the connection with something else than success.

    Args:
        mqtt: the broker.
        code: the reason code, as MQTT 5 numbers it.
        reason: its name.
    """
    where = address(mqtt)
    if code in BAD_CREDENTIALS:
        if mqtt.username:
            return f"broker {where} refuses the password of user {mqtt.username!r} ({reason})"
        return f"broker {where} wants a user name and a password ({reason})"
    if code == UNSUPPORTED_VERSION:
        other = "3.1.1" if mqtt.protocol == "5" else "5"
        return f"broker {where} does not speak MQTT {mqtt.protocol}: set the protocol to {other}"
    return f"broker {where} refuses the connection ({reason})"


def silence_line(mqtt: MqttSettings, seconds: float) -> str:
    """Something listens there, and says nothing."""
    hint = "it speaks TLS, or is no MQTT broker" if not mqtt.tls else "it is no MQTT broker"
    return f"broker {address(mqtt)} gave no answer within {seconds:g} s: perhaps {hint}"


def closed_line(
    mqtt: MqttSettings, *, welcomed: bool, again: bool, detail: str, code: int, reason: str
) -> str:
    """The connection ended.

    Args:
        mqtt: the broker.
        welcomed: whether it had accepted the connection before.
        again: whether that happens again and again, soon after it was accepted.
        detail: the socket's complaint, if there was one.
        code: reason code of the broker's DISCONNECT; 0 if it sent none.
        reason: its name.
    """
    where = address(mqtt)
    if code == TAKEN_OVER or (welcomed and again and not code):
        # Not every broker says so when another client takes our place.
        return f"broker {where} drops us again and again: is there another client of our name?"
    if code:
        return f"broker {where} ended the connection ({reason})"
    if "certificate required" in detail.lower().replace("_", " "):
        return f"broker {where} wants a client certificate: set cert_file and key_file"
    if "alert" in detail.lower():
        return f"broker {where} refuses the client certificate ({_ssl_reason(detail)})"
    if welcomed:
        return f"the connection to broker {where} was lost"
    perhaps = [] if mqtt.tls else ["speaks only TLS there (mqtts://)"]
    if mqtt.cert_file:
        perhaps.append("refuses the client certificate")
    elif mqtt.tls:
        perhaps.append("wants a client certificate (cert_file, key_file)")
    if mqtt.protocol == "5":
        perhaps.append("is an older one (set the protocol to 3.1.1)")
    hint = f"; perhaps it {' or '.join(perhaps)}" if perhaps else ""
    return f"broker {where} closed the connection without an answer{hint}"


def unreachable_line(mqtt: MqttSettings, error: BaseException) -> str:
    """Why no connection could be opened."""
    where = address(mqtt)
    if isinstance(error, ssl.SSLError):
        return _tls_line(mqtt, error)
    if isinstance(error, ConnectionResetError) and mqtt.tls:
        return f"broker {where} ends the TLS connection: perhaps it speaks no TLS there (mqtt://)"
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename} can't be read: {error.strerror}"
    reasons: dict[type[BaseException], str] = {
        socket.gaierror: "the host name can't be resolved",
        TimeoutError: "no answer",
        ConnectionRefusedError: "nothing listens there",
    }
    known = next((text for kind, text in reasons.items() if isinstance(error, kind)), None)
    return f"no broker at {where}: {known or getattr(error, 'strerror', None) or error}"


def _tls_line(mqtt: MqttSettings, error: ssl.SSLError) -> str:
    where = address(mqtt)
    if isinstance(error, ssl.SSLCertVerificationError):
        fault = fault_name(error)
        if fault is not None:
            # A device without a battery for its clock starts in the past.
            today = datetime.now(timezone.utc).date().isoformat()
            line = f"the certificate of broker {where} is refused: {error.verify_message} ({fault})"
            return f"{line}. It is {today} on this device: if that is wrong, set its clock"
        way = "check ca_file" if mqtt.ca_file else "set ca_file to the authority that signed it"
        return f"the certificate of broker {where} is not trusted ({error.verify_message}): {way}"
    if error.reason == "WRONG_VERSION_NUMBER":
        return f"broker {where} speaks no TLS there: use mqtt://, or its TLS port"
    return f"no TLS connection to broker {where} ({_ssl_reason(str(error))})"


def _ssl_reason(text: str) -> str:
    """The part of OpenSSL's text that says something: without the file and line."""
    return re.sub(r"^.*\] | \(_ssl.*$", "", text)
