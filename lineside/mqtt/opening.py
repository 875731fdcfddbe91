"""A paho client made from a station's settings: who we are, TLS, timeouts."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import TYPE_CHECKING, Final

from typing_extensions import override

from lineside.errors import BrokerError
from lineside.extras import require
from lineside.mqtt import faults
from lineside.mqtt.tcp import no_delay
from lineside.settings import MqttSettings

if TYPE_CHECKING:
    import paho.mqtt.client as paho

CONNECT_S: Final = 10.0
"""Seconds that the broker may take to open a connection, and again to accept it."""

ERROR_LEVEL: Final = 0x08
"""The level of paho's log lines that tell why a socket failed."""


def new_client(mqtt: MqttSettings, client_id: str) -> paho.Client:
    """A paho client that is not connected yet and calls nobody.

    Raises:
        BrokerError: a password, certificate or key can't be read.
    """
    module = require("paho.mqtt.client", extra="mqtt")
    client: paho.Client = module.Client(
        module.CallbackAPIVersion.VERSION2,
        client_id=client_id,
        protocol=module.MQTTv5 if mqtt.protocol == "5" else module.MQTTv311,
        # Otherwise paho answers a refused 3.1.1 with the outdated 3.1, on its own.
        reconnect_on_failure=False,
    )
    client.connect_timeout = CONNECT_S
    client.on_socket_open = _opened
    try:
        if mqtt.username:
            password = mqtt.password_file and Path(mqtt.password_file).read_text("utf-8")
            client.username_pw_set(mqtt.username, password.rstrip("\r\n") or None)
        if mqtt.tls:
            client.tls_set_context(_tls_context(mqtt))
    except UnicodeDecodeError as error:
        msg = f"{mqtt.password_file} is no text file"
        raise BrokerError(msg) from error
    except BrokerError:
        raise
    except OSError as error:
        raise BrokerError(faults.unreachable_line(mqtt, error)) from error
    return client


def _opened(_client: object, _data: object, sock: paho.SocketLike) -> None:
    no_delay(sock)


class _TidySocket(ssl.SSLSocket):
    """Closes itself when no TLS connection comes about; paho would leave it open."""

    @override
    def do_handshake(self, block: bool = False) -> None:
        try:
            super().do_handshake(block)
        except BaseException:
            self.close()
            raise


def _tls_context(mqtt: MqttSettings) -> ssl.SSLContext:
    """Certificates as the settings say.

    Raises:
        BrokerError: a file holds no certificate or key.
        OSError: a file can't be read.
    """
    for path in (mqtt.ca_file, mqtt.cert_file, mqtt.key_file):
        if path:
            Path(path).read_bytes()  # OpenSSL's own error does not name the file
    try:
        context = ssl.create_default_context(cafile=mqtt.ca_file or None)
    except ssl.SSLError as error:
        msg = f"{mqtt.ca_file} holds no certificate: a PEM file is expected"
        raise BrokerError(msg) from error
    if mqtt.ca_file:
        # Python 3.13 wants key usage extensions that a plant's own authority often lacks; what
        # older versions accept must not stop a station when its Python is renewed.
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    context.sslsocket_class = _TidySocket
    if mqtt.cert_file:
        try:
            # An empty password: otherwise OpenSSL would ask for one on the terminal.
            context.load_cert_chain(mqtt.cert_file, mqtt.key_file, password="")
        except ssl.SSLError as error:
            msg = (
                f"{mqtt.cert_file} and {mqtt.key_file} are no certificate and its private key: "
                f"PEM files are expected, the key without a password"
            )
            raise BrokerError(msg) from error
    return context
