"""How the X of a fit was read, and the X of a prediction has to be."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from uplift.arrays import Float32Array
from uplift.errors import InputError
from uplift.features import FeatureEncoder
from uplift.learners.inputs import check_categories, is_frame, to_frame, to_matrix, to_types

__all__ = ["Columns"]


@dataclass(frozen=True)
class Columns:
    """Columns of X.

    Attributes
    ----------
    types : ``q`` or ``c`` for each
    encoder : how the columns of a frame are read; none where X was an array
    """

    types: tuple[str, ...]
    encoder: FeatureEncoder | None = None

    @classmethod
    def of(cls, X: Any, feature_types: Sequence[str] | None) -> tuple["Columns", Float32Array]:
        """Read the X of a fit."""
        if not is_frame(X):
            matrix = to_matrix(X)
            types = to_types(feature_types, matrix.shape[1])
            check_categories(matrix, types)
            return cls(types), matrix
        frame = to_frame(X)
        types = to_types(feature_types, len(frame.columns))
        categorical = [n for n, kind in zip(frame.columns, types, strict=True) if kind == "c"]
        encoder = FeatureEncoder.of(frame, categorical=categorical)
        return cls(encoder.types, encoder), encoder.transform(frame)

    def read(self, X: Any, reader: str) -> Float32Array:
        """Read the X of a prediction; `reader` names who asks in the sentences."""
        if self.encoder is not None and is_frame(X):
            return self.encoder.transform(to_frame(X))
        if self.encoder is not None:
            raise InputError(
                "X is no frame, but the learner was fitted on one with the columns "
                f"{list(self.encoder.names[:10])}; give a frame with these."
            )
        matrix = to_matrix(X)
        if matrix.shape[1] != len(self.types):
            raise InputError(
                f"X has {matrix.shape[1]} features, but {reader} is expecting "
                f"{len(self.types)} features as input."
            )
        check_categories(matrix, self.types)
        return matrix
