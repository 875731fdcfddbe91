"""A network camera to test with: RTSP on loopback, JPEGs as RTP (RFC 2435) over TCP."""

from __future__ import annotations

import contextlib
import itertools
import re
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator, Sequence

import cv2

from lineside.image import Frame

Picture = tuple[int, int, bytes, bytes]
"""Width and height in eighths, quantization tables, entropy-coded data."""

CLOCK = 90_000
"""Ticks of a time stamp a second."""


@contextlib.contextmanager
def rtsp_camera(
    *frames: Frame, rate: float = 25.0, sent: Callable[[int], None] = lambda _: None
) -> Iterator[str]:
    """Shows frames to whoever plays it, again and again; gives what follows `rtsp:` in its URL.

    Args:
        frames: all of one size, at most 2040 pixels wide and high.
        rate: frames a second.
        sent: told which of the frames was sent, each time.
    """
    pictures = [_as_rtp(frame) for frame in frames]
    ended = threading.Event()
    threads: list[threading.Thread] = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.1)

        def accept() -> None:
            while not ended.is_set():
                with contextlib.suppress(TimeoutError):
                    client, _ = server.accept()
                    thread = threading.Thread(
                        target=_serve, args=(client, pictures, rate, sent, ended)
                    )
                    threads.append(thread)
                    thread.start()

        accepting = threading.Thread(target=accept)
        accepting.start()
        try:
            yield f"//127.0.0.1:{server.getsockname()[1]}/live"
        finally:
            ended.set()
            for thread in [accepting, *threads]:
                thread.join()


def _serve(
    client: socket.socket,
    pictures: Sequence[Picture],
    rate: float,
    sent: Callable[[int], None],
    ended: threading.Event,
) -> None:
    """One client's session, up to its end."""
    with client, contextlib.suppress(OSError):
        client.settimeout(5.0)
        waiting = b""
        while not ended.is_set():
            while b"\r\n\r\n" not in waiting:
                more = client.recv(4096)
                if not more:
                    return
                waiting += more
            request, _, waiting = waiting.partition(b"\r\n\r\n")
            method, number = request.split(b" ")[0].decode(), _number(request)
            client.sendall(_answer(method, number))
            if method == "PLAY":
                _play(client, pictures, rate, sent, ended)
                return


def _number(request: bytes) -> str:
    found = re.search(rb"CSeq: *(\d+)", request, re.IGNORECASE)
    assert found is not None
    return found[1].decode()


def _answer(method: str, number: str) -> bytes:
    lines, body = ["RTSP/1.0 200 OK", f"CSeq: {number}", "Session: 1"], ""
    if method == "OPTIONS":
        lines.append("Public: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN")
    elif method == "DESCRIBE":
        body = (
            "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=test\r\nt=0 0\r\n"
            "m=video 0 RTP/AVP 26\r\na=control:track1\r\n"
        )
        lines += ["Content-Type: application/sdp", f"Content-Length: {len(body)}"]
    elif method == "SETUP":
        lines.append("Transport: RTP/AVP/TCP;unicast;interleaved=0-1")
    return ("\r\n".join(lines) + "\r\n\r\n" + body).encode()


def _as_rtp(frame: Frame) -> Picture:
    height, width = frame.shape[:2]
    options = (cv2.IMWRITE_JPEG_QUALITY, 90, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, 0x221111)
    _, encoded = cv2.imencode(".jpg", frame, options)
    data = encoded.tobytes()
    starts = (found.start() for found in re.finditer(b"\xff\xdb\x00\x43", data))
    tables = b"".join(data[at + 5 : at + 69] for at in starts)
    start = data.index(b"\xff\xda")
    scan = data[start + 2 + int.from_bytes(data[start + 2 : start + 4], "big") : -2]
    return width // 8, height // 8, tables, scan


def _play(
    client: socket.socket,
    pictures: Sequence[Picture],
    rate: float,
    sent: Callable[[int], None],
    ended: threading.Event,
) -> None:
    """Send one picture after the other."""
    number = 0
    begun = time.monotonic()
    for beat in itertools.count(1):
        if ended.wait(max(0.0, begun + beat / rate - time.monotonic())):
            return
        width, height, tables, scan = pictures[beat % len(pictures)]
        for offset in range(0, len(scan), 1200):
            part = scan[offset : offset + 1200]
            last = offset + len(part) == len(scan)
            ticks = round(beat * CLOCK / rate)
            packet = struct.pack("!BBHII", 0x80, 26 | last << 7, number, ticks, 1)
            packet += struct.pack("!IBBBB", offset, 1, 255, width, height)
            if offset == 0:
                packet += struct.pack("!BBH", 0, 0, len(tables)) + tables
            client.sendall(struct.pack("!BBH", 0x24, 0, len(packet) + len(part)) + packet + part)
            number = number + 1 & 0xFFFF
        sent(beat % len(pictures))
