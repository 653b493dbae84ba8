"""Refusals as problem documents (RFC 9457)."""

from http import HTTPStatus

import msgspec

__all__ = ["Problem", "ProblemDocument"]


class ProblemDocument(msgspec.Struct):
    """What a refusal says."""

    type: str
    title: str
    status: int
    detail: str
    request_id: str


class Problem(Exception):
    """A request that is refused.

    Attributes
    ----------
    status : of the answer
    detail : what was found, what was expected, how to mend it
    headers : of the answer, beside the usual ones
    """

    def __init__(
        self, status: int, detail: str, headers: tuple[tuple[bytes, bytes], ...] = ()
    ) -> None:
        super().__init__(detail)
        self.status, self.detail, self.headers = status, detail, headers

    def body(self, request_id: str) -> bytes:
        """Return the document."""
        title = HTTPStatus(self.status).phrase
        document = ProblemDocument("about:blank", title, self.status, self.detail, request_id)
        return msgspec.json.encode(document)
