"""A segment: records one behind the other, each with its length and checksum.

    length u32 | crc32 of the payload u32 | payload (MessagePack)        little-endian

Whatever a crash leaves behind the last whole record is no record.
"""

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from uplift.errors import InputError

__all__ = ["encoded", "read_segment", "segment_name", "segments", "whole_length"]

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


def whole_length(data: bytes) -> int:
    """Return the number of bytes that whole records take at the beginning."""
    return sum(len(payload) + _HEAD.size for payload in _payloads(data))


def read_segment(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the whole records of a segment."""
    for payload in _payloads(path.read_bytes()):
        yield _decoder.decode(payload)


def segment_name(number: int) -> str:
    """Return the name of a segment: by number, so that names sort."""
    return f"{number:012d}{_SUFFIX}"


def segments(folder: Path) -> list[Path]:
    """Return the segments of a folder, oldest first."""
    return sorted(folder.glob(f"*{_SUFFIX}"))


def _payloads(data: bytes) -> Iterator[bytes]:
    at = 0
    while at + _HEAD.size <= len(data):
        length, checksum = _HEAD.unpack_from(data, at)
        payload = data[at + _HEAD.size : at + _HEAD.size + length]
        if length > LARGEST or len(payload) < length or zlib.crc32(payload) != checksum:
            return
        yield payload
        at += _HEAD.size + length
