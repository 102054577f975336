"""Orchestrator's links in Python: the frames of docs/links.md, the handshake, and a loop for programs that join a handler.

Only the standard library. A program that works for a handler needs no more than

    import orchestrator_link as link

    def work(packet):
        return link.Boxes(packet.payload.width, packet.payload.height, [])

    link.serve(work, *link.arguments())

Everything that comes from the peer is checked before memory is set aside for it; what breaks the protocol is a
ProtocolError, and the connection is then useless.
"""

import array
import json
import math
import os
import select
import socket
import ssl
import struct
import sys
import threading
import time
import urllib.parse
from dataclasses import dataclass, field
from typing import Any, Callable, Dict, Iterator, List, Optional, Tuple, Union

PROTOCOL = "orchestrator-link/1"

#  0 u16 magic, 2 u8 kind, 3 u8 payload type or drop reason, 4 u32 metadata bytes, 8 u32 payload bytes, 12 u32 width,
# 16 u32 height, 20 u32 JSON bytes; f64: 24 sequence, 32 timestamp, 40 deadline, 48 sent at, 56 handler_id or received,
# 64 first sequence, 72 ordinal
PREFIX = struct.Struct("<HBBIIIII7d")
MAGIC = 0x4C4F
KINDS = ("data", "drop", "end", "skip", "ack", "ping", "pong")
TYPES = ("frame", "jpeg", "boxes", "bytes")
REASONS = ("queue", "late", "join", "error", "failover")

METADATA_BYTES_MAX = 1 << 20
PAYLOAD_BYTES_MAX = 128 << 20
DETAIL_CHARS_MAX = 500
HEAD_BYTES_MAX = 16 << 10
SEQUENCE_MAX = 2**53 - 1

PING_S = 1.0
DEAD_S = 5.0


class ProtocolError(Exception):
    """The peer broke the protocol, or this side was about to."""


class Closed(ConnectionError):
    """The peer closed the connection."""


class Refused(Exception):
    """The peer answered the handshake with something other than 101."""

    def __init__(self, status: int, code: str, detail: str):
        super().__init__(f"refused with status {status}: {detail}")
        self.status = status
        self.code = code


class Drop(Exception):
    """Raised by a worker: the packet ends here, with a reason of REASONS and a sentence for people."""

    def __init__(self, detail: str, reason: str = "error"):
        super().__init__(detail)
        self.reason = reason


# What a packet may carry.


@dataclass
class Picture:
    """`height` rows of `width` RGB pixels, 8 bit, no padding."""

    width: int
    height: int
    data: bytes


@dataclass
class Jpeg:
    data: bytes


@dataclass
class Bytes:
    data: bytes


@dataclass
class Boxes:
    """Detections: dicts with label, prob, x, y, w, h in pixels of the frame; optional note, attributes (a dict of numbers
    and texts), landmarks ([x, y] pairs), crop (a Picture) and embedding (an array of floats)."""

    frame_width: int
    frame_height: int
    boxes: List[Dict[str, Any]] = field(default_factory=list)


Payload = Union[Picture, Jpeg, Boxes, Bytes]


@dataclass
class Packet:
    """A frame that accounts for sequences: `first`..`sequence`, one only when it carries data."""

    kind: str
    sequence: int
    first: int
    timestamp: float
    deadline: float
    sent_at: float
    ordinal: int
    payload: Optional[Payload] = None
    metadata: Dict[str, Any] = field(default_factory=dict)
    reason: str = ""
    handler_id: int = 0
    detail: str = ""


@dataclass
class Prefix:
    """The 80 bytes in front of every frame, checked."""

    kind: str
    code: int
    metadata_bytes: int
    payload_bytes: int
    width: int
    height: int
    json_bytes: int
    sequence: float
    timestamp: float
    deadline: float
    sent_at: float
    extra: float
    first: float
    ordinal: float


# Reading.


def unpack_prefix(data: bytes) -> Prefix:
    magic, kind, *rest = PREFIX.unpack(data)
    if magic != MAGIC:
        raise ProtocolError(f"magic {magic} is not {MAGIC}")
    if not 1 <= kind <= len(KINDS):
        raise ProtocolError(f"frame kind {kind} is unknown")
    prefix = Prefix(KINDS[kind - 1], *rest)
    _check(prefix)
    return prefix


def _check(p: Prefix) -> None:
    _bounded("metadata", p.metadata_bytes, METADATA_BYTES_MAX)
    _bounded("payload", p.payload_bytes, PAYLOAD_BYTES_MAX)
    if not all(map(math.isfinite, (p.timestamp, p.deadline, p.sent_at))):
        raise ProtocolError("a time is not finite")
    if p.kind in ("ack", "ping", "pong", "end", "skip") and p.metadata_bytes + p.payload_bytes > 0:
        raise ProtocolError(f"a {p.kind} has a body")
    if p.kind in ("ping", "pong"):
        return
    if p.kind == "ack":
        _integer("settled", p.sequence, -1)
        _integer("received", p.extra, -1)
        _integer("packets carried", p.ordinal, 0)
        return
    _integer("sequence", p.sequence, 0)
    _integer("ordinal", p.ordinal, 0)
    if _integer("first sequence", p.first, 0) > p.sequence:
        raise ProtocolError(f"first sequence {p.first} is after {p.sequence}")
    if p.kind == "drop":
        if p.code >= len(REASONS) or p.payload_bytes > 0:
            raise ProtocolError(f"drop reason {p.code} is unknown, or it has a payload")
        _bounded("detail", p.metadata_bytes, DETAIL_CHARS_MAX * 4)
        _integer("handler_id", p.extra, 0)
    if p.kind == "data":
        _check_data(p)


def _check_data(p: Prefix) -> None:
    if p.code >= len(TYPES):
        raise ProtocolError(f"payload type {p.code} is unknown")
    if p.first != p.sequence:
        raise ProtocolError("a data packet has one sequence")
    if TYPES[p.code] == "frame" and p.width * p.height * 3 != p.payload_bytes:
        raise ProtocolError(f"a frame of {p.width}x{p.height} has {p.payload_bytes} bytes")
    if TYPES[p.code] == "boxes" and p.json_bytes > p.payload_bytes:
        raise ProtocolError(f"JSON of {p.json_bytes} in {p.payload_bytes} bytes")


def _bounded(what: str, value: int, bound: int) -> None:
    if value > bound:
        raise ProtocolError(f"{what} of {value} bytes is over {bound}")


def _integer(what: str, value: float, least: int) -> int:
    if not (math.isfinite(value) and value == int(value) and least <= value <= SEQUENCE_MAX):
        raise ProtocolError(f"{what} {value} is not an integer of at least {least}")
    return int(value)


def unpack_packet(p: Prefix, metadata: bytes, payload: bytes) -> Packet:
    packet = Packet(p.kind, int(p.sequence), int(p.first), p.timestamp, p.deadline, p.sent_at, int(p.ordinal))
    if p.kind == "data":
        packet.payload = _payload(p, payload)
        packet.metadata = _json(metadata, dict) if metadata else {}
    if p.kind == "drop":
        packet.reason, packet.handler_id = REASONS[p.code], int(p.extra)
        packet.detail = metadata.decode("utf-8", "replace")
    return packet


def _payload(p: Prefix, data: bytes) -> Payload:
    kind = TYPES[p.code]
    if kind == "frame":
        return Picture(p.width, p.height, data)
    if kind == "boxes":
        blobs = data[p.json_bytes :]
        boxes = [_box(box, blobs) for box in _json(data[: p.json_bytes], list)]
        return Boxes(p.width, p.height, boxes)
    return Jpeg(data) if kind == "jpeg" else Bytes(data)


def _json(data: bytes, kind: type) -> Any:
    try:
        value = json.loads(data)
    except ValueError as error:
        raise ProtocolError(f"JSON of {len(data)} bytes: {error}") from error
    if not isinstance(value, kind):
        raise ProtocolError(f"JSON is not a {kind.__name__}")
    return value


def _box(wire: Any, blobs: bytes) -> Dict[str, Any]:
    """A box as it is in the JSON, with its pixels and its embedding in place of where they are."""
    try:
        box = {key: wire[key] for key in ("label", "prob", "x", "y", "w", "h")}
        for key in ("note", "attributes", "landmarks"):
            if key in wire:
                box[key] = wire[key]
        if "crop" in wire:
            width, height, offset = wire["crop"]
            box["crop"] = Picture(width, height, _slice(blobs, offset, width * height * 3))
        if "embedding" in wire:
            length, offset = wire["embedding"]
            floats = array.array("f", _slice(blobs, offset, length * 4))
            if sys.byteorder == "big":
                floats.byteswap()
            box["embedding"] = floats
    except (KeyError, TypeError, ValueError) as error:
        raise ProtocolError(f"a box is malformed: {error!r}") from error
    return box


def _slice(blobs: bytes, offset: int, length: int) -> bytes:
    if offset < 0 or length < 0 or offset + length > len(blobs):
        raise ProtocolError(f"{length} bytes at {offset} of {len(blobs)}")
    return blobs[offset : offset + length]


# Writing. Each gives the whole frame.


def pack(kind: str, body: bytes = b"", **fields: Any) -> bytes:
    """A frame whose prefix has `fields` (0 where nothing is said) and `body` behind it."""
    get = fields.get
    sequence = get("sequence", 0)
    numbers = (get("code", 0), get("metadata_bytes", 0), get("payload_bytes", 0))
    sizes = (get("width", 0), get("height", 0), get("json_bytes", 0))
    times = (get("timestamp", 0.0), get("deadline", 0.0), get("sent_at", 0.0))
    last = (get("extra", 0), get("first", sequence), get("ordinal", 0))
    return PREFIX.pack(MAGIC, KINDS.index(kind) + 1, *numbers, *sizes, sequence, *times, *last) + body


def pack_data(packet: Packet, payload: Payload, metadata: Optional[Dict[str, Any]] = None) -> bytes:
    """`payload` as the answer to `packet`, or as what takes its place."""
    facts = json.dumps(metadata).encode() if metadata else b""
    _bounded("metadata", len(facts), METADATA_BYTES_MAX)
    fields: Dict[str, Any] = {}
    if isinstance(payload, Boxes):
        text, blobs = _pack_boxes(payload)
        fields.update(width=payload.frame_width, height=payload.frame_height, json_bytes=len(text))
        data, code = text + blobs, "boxes"
    elif isinstance(payload, Picture):
        if len(payload.data) != payload.width * payload.height * 3:
            raise ProtocolError(f"a frame of {payload.width}x{payload.height} has {len(payload.data)} bytes")
        fields.update(width=payload.width, height=payload.height)
        data, code = payload.data, "frame"
    else:
        data, code = payload.data, "jpeg" if isinstance(payload, Jpeg) else "bytes"
    _bounded("payload", len(data), PAYLOAD_BYTES_MAX)
    fields.update(code=TYPES.index(code), metadata_bytes=len(facts), payload_bytes=len(data))
    return pack("data", facts + data, **fields, **_header(packet))


def pack_skip(packet: Packet) -> bytes:
    return pack("skip", **_header(packet))


def pack_drop(packet: Packet, reason: str, detail: str) -> bytes:
    text = detail[:DETAIL_CHARS_MAX].encode()
    return pack("drop", text, code=REASONS.index(reason), metadata_bytes=len(text), **_header(packet))


def pack_ack(settled: int, received: int, carried: int) -> bytes:
    return pack("ack", sequence=settled, extra=received, ordinal=carried)


def _header(packet: Packet) -> Dict[str, Any]:
    return {
        "sequence": packet.sequence,
        "timestamp": packet.timestamp,
        "deadline": packet.deadline,
        "sent_at": time.time(),
    }


def _pack_boxes(payload: Boxes) -> Tuple[bytes, bytes]:
    blobs = bytearray()
    wire = []
    for box in payload.boxes:
        one = {key: value for key, value in box.items() if key not in ("crop", "embedding")}
        crop, embedding = box.get("crop"), box.get("embedding")
        if crop is not None:
            one["crop"] = [crop.width, crop.height, len(blobs)]
            blobs += crop.data
        if embedding is not None:
            one["embedding"] = [len(embedding), len(blobs)]
            blobs += struct.pack(f"<{len(embedding)}f", *embedding)
        wire.append(one)
    try:
        return json.dumps(wire, allow_nan=False).encode(), bytes(blobs)
    except ValueError as error:
        raise ProtocolError(f"a box has a number that is none: {error}") from error


# Connections.


class Connection:
    """Frames over one socket. Says a ping each second from a thread of its own, so that work may take longer than the
    peer waits for a word; answers the peer's pings while it receives."""

    def __init__(self, sock: socket.socket, headers: Dict[str, str]):
        self.headers = headers
        self._socket = sock
        self._using = threading.Lock()
        self._closed = threading.Event()
        sock.settimeout(DEAD_S)
        threading.Thread(target=self._ping, daemon=True).start()

    def receive(self) -> Packet:
        """The next data, drop, skip or end. Raises ConnectionError when the peer is gone or was silent for DEAD_S."""
        while True:
            prefix = unpack_prefix(self._read(PREFIX.size))
            metadata = self._read(prefix.metadata_bytes)
            payload = self._read(prefix.payload_bytes)
            if prefix.kind == "ping":
                self.send(pack("pong", timestamp=prefix.sent_at))
            elif prefix.kind == "ack":
                raise ProtocolError("an acknowledgement came from the end that sends packets")
            elif prefix.kind != "pong":
                return unpack_packet(prefix, metadata, payload)

    def send(self, frame: bytes) -> None:
        with self._using:
            self._socket.sendall(frame)

    def close(self) -> None:
        self._closed.set()
        self._socket.close()

    def _read(self, count: int) -> bytes:
        data = bytearray(count)
        view = memoryview(data)
        while len(view) > 0:
            got = self._receive_into(view)
            if got == 0:
                raise Closed("the peer closed the connection")
            view = view[got:]
        return bytes(data)

    def _receive_into(self, view: memoryview) -> int:
        """A TLS connection must not be read and written at the same time, so it is read only when there is something."""
        if not isinstance(self._socket, ssl.SSLSocket):
            return self._socket.recv_into(view)
        if self._socket.pending() == 0 and select.select([self._socket], [], [], DEAD_S)[0] == []:
            raise socket.timeout("timed out")
        with self._using:
            return self._socket.recv_into(view)

    def _ping(self) -> None:
        while not self._closed.wait(PING_S):
            try:
                self.send(pack("ping", sent_at=time.monotonic()))
            except OSError:
                return


def connect(url: str, path: str, token: Optional[str] = None, headers: Optional[Dict[str, Any]] = None) -> Connection:
    """Dials `path` at `url` (`http://host:port`, `https://host:port`, or `unix:/path/of/socket`). Raises Refused.
    SSL_CERT_FILE in the environment names the authorities of an https node that the system does not know."""
    sock, host = _dial(url)
    lines = [f"GET {path} HTTP/1.1", f"host: {host}", "connection: Upgrade", f"upgrade: {PROTOCOL}"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    if token:
        lines.append(f"authorization: Bearer {token}")
    try:
        sock.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
        return Connection(sock, _answer(sock))
    except BaseException:
        sock.close()
        raise


def _dial(url: str) -> Tuple[socket.socket, str]:
    if url.startswith("unix:"):
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(DEAD_S)
        sock.connect(url[len("unix:") :])
        return sock, "localhost"
    parts = urllib.parse.urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    sock = socket.create_connection((parts.hostname, port), timeout=DEAD_S)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if parts.scheme == "https":
        sock = ssl.create_default_context().wrap_socket(sock, server_hostname=parts.hostname)
    return sock, parts.netloc


def _answer(sock: socket.socket) -> Dict[str, str]:
    """Headers of the 101. Read byte by byte: what follows the head is frames already."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        byte = sock.recv(1)
        if byte == b"" or len(head) > HEAD_BYTES_MAX:
            raise ConnectionError("the handshake was not answered")
        head += byte
    first, *lines = head.decode("latin-1").strip().split("\r\n")
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    status = int(first.split(" ", 2)[1])
    if status == 101:
        return headers
    body = b""
    length = min(int(headers.get("content-length", 0)), HEAD_BYTES_MAX)
    while len(body) < length:
        chunk = sock.recv(length - len(body))
        if chunk == b"":
            break
        body += chunk
    try:
        problem = json.loads(body)
        raise Refused(status, problem.get("code", ""), problem.get("detail", ""))
    except ValueError:
        raise Refused(status, "", body.decode("utf-8", "replace")) from None


# Programs that work for a handler.


def join(url: str, session: int, handler: int, token: Optional[str] = None) -> Connection:
    """Joins an external handler of a session, at its node or on the socket of its host."""
    return connect(url, f"/v1/sessions/{session}/handlers/{handler}/worker", token)


def arguments() -> Tuple[str, int, int]:
    """Where to join: from the command line (URL SESSION HANDLER), or as a node says it to a program that it starts."""
    given = sys.argv[1:] or [os.environ.get(f"ORCHESTRATOR_{name}", "") for name in ("NODE", "SESSION", "HANDLER")]
    if len(given) != 3 or not (given[1].isdigit() and given[2].isdigit()):
        sys.exit(f"usage: {sys.argv[0]} URL SESSION HANDLER   (for example http://127.0.0.1:9000 1 2)")
    return given[0], int(given[1]), int(given[2])


Work = Callable[[Packet], Optional[Payload]]


def answer(work: Work, packet: Packet) -> bytes:
    """The frame that answers a packet: what `work` gives, a skip for None, a drop for what it raises."""
    try:
        payload = work(packet)
        return pack_skip(packet) if payload is None else pack_data(packet, payload)
    except Drop as drop:
        return pack_drop(packet, drop.reason, str(drop))
    except Exception as error:  # whatever is wrong with one packet must not cost the next
        return pack_drop(packet, "error", f"{type(error).__name__}: {error}")


def serve(work: Work, url: str, session: int, handler: int, token: Optional[str] = None, patience_s: float = 30) -> None:
    """Answers packets until the session has ended. Joins again whenever the connection breaks: what was not answered
    then is given out again. Raises Refused, or ConnectionError when nobody answered for `patience_s`."""
    token = token or os.environ.get("ORCHESTRATOR_TOKEN")
    joined = False
    pause_s, give_up = 0.05, time.monotonic() + patience_s
    while True:
        try:
            connection = join(url, session, handler, token)
        except Refused as refused:
            if refused.status == 404 and joined:
                return
            if refused.status != 503:
                raise
        except OSError as error:
            if time.monotonic() > give_up:
                raise ConnectionError(f"nobody answers at {url}: {error}") from error
        else:
            joined = True
            _log(f"joined handler {handler} of session {session} at {url}")
            _work_through(work, connection)
            pause_s, give_up = 0.05, time.monotonic() + patience_s
        time.sleep(pause_s)
        pause_s = min(1.0, pause_s * 2)


def _work_through(work: Work, connection: Connection) -> None:
    try:
        while True:
            packet = connection.receive()
            if packet.kind == "end":
                _log(f"the stream has ended at sequence {packet.sequence}")
            elif packet.kind == "data":
                connection.send(answer(work, packet))
    except OSError as error:
        _log(f"left: {error}")
    finally:
        connection.close()


def _log(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


# Reading what an output emits.


def tap(url: str, session: int, handler: int, output: int = 0, token: Optional[str] = None) -> Iterator[Packet]:
    """The packets of an output from now on, until the session ends. A reader that is slow misses some."""
    connection = connect(url, f"/v1/sessions/{session}/handlers/{handler}/outputs/{output}/tap", token)
    _log(f"reading output {output} of handler {handler} of session {session} at {url}")
    received, carried = -1, 0
    try:
        while True:
            packet = connection.receive()
            carried += 1
            if packet.sequence > received:
                received = packet.sequence
                yield packet
            connection.send(pack_ack(received, received, carried))
            if packet.kind == "end":
                return
    except Closed:
        return
    finally:
        connection.close()
