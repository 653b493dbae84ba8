"""A segment: records one behind the other, each with its length and checksum.

    length u32 | crc32 of the payload u32 | payload (MessagePack)        little-endian

Whatever a crash leaves behind the last whole record is no record. A record that is damaged, in a
file that was whole, is passed over and counted.
"""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from uplift.errors import InputError

__all__ = ["Scan", "decoded", "encoded", "scan", "segment_name", "segments"]

_HEAD = struct.Struct("<II")
LARGEST = 1 << 20
"""Bytes of a record; a longer one is no record but damage."""

_SUFFIX = ".decisions"
_encoder, _decoder = msgspec.msgpack.Encoder(), msgspec.msgpack.Decoder()


def encoded(record: dict[str, Any]) -> bytes:
    """Return a record as it stands in a segment.

    Raises
    ------
    InputError
        It holds what no log can, or is larger than `LARGEST`.
    """
    try:
        payload = _encoder.encode(record)
    except (TypeError, OverflowError, msgspec.MsgspecError) as error:
        raise InputError(f"the decision cannot be logged ({error}); log plain values.") from error
    if len(payload) > LARGEST:
        raise InputError(
            f"the decision takes {len(payload):,} bytes; expected {LARGEST:,} or fewer."
        )
    return _HEAD.pack(len(payload), zlib.crc32(payload)) + payload


@dataclass(frozen=True)
class Scan:
    """What a segment holds.

    Attributes
    ----------
    payloads : of the whole records
    end : bytes up to the end of the last of them; what is behind is a torn tail
    damaged : places between whole records where something else stands
    """

    payloads: list[bytes]
    end: int
    damaged: int


def scan(data: bytes) -> Scan:
    """Find the whole records; where one is damaged, look for the next."""
    payloads, at, end, damaged = list[bytes](), 0, 0, 0
    while True:
        payload = _payload(data, at)
        if payload is None:
            following = _next_record(data, at + 1)
            if following is None:
                return Scan(payloads, end, damaged)
            at, damaged = following, damaged + 1
            continue
        payloads.append(payload)
        at = end = at + _HEAD.size + len(payload)


def decoded(found: Scan) -> Iterator[dict[str, Any]]:
    """Yield the whole records of a segment."""
    return map(_decoder.decode, found.payloads)


def segment_name(number: int) -> str:
    """Return the name of a segment: by number, so that names sort."""
    return f"{number:012d}{_SUFFIX}"


def segments(folder: Path) -> list[Path]:
    """Return the segments of a folder, oldest first."""
    return sorted(folder.glob(f"*{_SUFFIX}"))


def _payload(data: bytes, at: int) -> bytes | None:
    """Return the payload of the record that begins at a byte, if one does."""
    if at + _HEAD.size > len(data):
        return None
    length, checksum = _HEAD.unpack_from(data, at)
    begin = at + _HEAD.size
    if not 0 < length <= min(LARGEST, len(data) - begin):
        return None
    payload = data[begin : begin + length]
    return payload if zlib.crc32(payload) == checksum else None


def _next_record(data: bytes, at: int) -> int | None:
    """Return where the next whole record begins, if there is one."""
    places = range(at, len(data) - _HEAD.size)
    return next((place for place in places if _payload(data, place) is not None), None)
