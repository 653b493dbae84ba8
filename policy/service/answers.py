"""An answer, and how it goes over the wire."""

from http import HTTPStatus
from typing import NamedTuple

__all__ = ["HTML", "JSON", "PROBLEM", "TEXT", "Answer", "Headers"]

JSON = b"application/json"
PROBLEM = b"application/problem+json"
TEXT = b"text/plain; version=0.0.4; charset=utf-8"
HTML = b"text/html; charset=utf-8"

Headers = tuple[tuple[bytes, bytes], ...]


class Answer(NamedTuple):
    """What a caller gets.

    Attributes
    ----------
    status : of HTTP
    kind : content type
    body : as it is sent
    request_id : that it carries
    headers : beside the usual ones
    """

    status: int
    kind: bytes
    body: bytes
    request_id: bytes
    headers: Headers = ()

    def wire(self, *, closes: bool = False, bodiless: bool = False) -> bytes:
        """Return the answer as HTTP/1.1.

        Parameters
        ----------
        closes : whether the connection ends with it
        bodiless : whether only its head is wanted
        """
        more = b"".join(b"%b: %b\r\n" % header for header in self.headers) if self.headers else b""
        if closes:
            more += b"connection: close\r\n"
        return b"%bcontent-type: %b\r\ncontent-length: %d\r\nx-request-id: %b\r\n%b\r\n%b" % (
            _LINES[self.status],
            self.kind,
            len(self.body),
            self.request_id,
            more,
            b"" if bodiless else self.body,
        )


_LINES = {s.value: b"HTTP/1.1 %d %b\r\n" % (s.value, s.phrase.encode()) for s in HTTPStatus}
