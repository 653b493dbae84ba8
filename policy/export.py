"""A bundle as an MLflow model: for registries and batch jobs that speak MLflow.

The folder holds the bundle as it is, and names this module as its loader; no pickle.
"""

import shutil
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from policy.bundle import Bundle, package_versions
from uplift.errors import InputError
from uplift.features import FeatureEncoder
from uplift.files import atomic_folder
from uplift.log import RequestLog
from uplift.model import UpliftModel

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["ScoringModel", "export_mlflow"]


class ScoringModel:
    """What MLflow calls of a loaded model."""

    def __init__(self, model: UpliftModel) -> None:
        self._model = model

    def predict(
        self, model_input: "pd.DataFrame", params: dict[str, Any] | None = None
    ) -> "pd.DataFrame":
        """Return ``outcome_<arm>`` and ``uplift_<arm>`` of each row, as `request-uplift score`.

        Raises
        ------
        InputError
            A feature is missing, of the wrong kind, or infinite.
        """
        import pandas as pd

        points = RequestLog.unchecked(model_input, self._model.schema)
        return pd.DataFrame(self._model.score(points).columns(), index=model_input.index)


def export_mlflow(bundle: str | Path, out: str | Path) -> None:
    """Write a bundle's model as a folder that `mlflow.pyfunc.load_model` reads.

    Its predictions are those of `UpliftModel.score`, bit for bit. It takes a frame of the
    features: numbers as double, categories as string. Written beside `out` and renamed.

    Raises
    ------
    InputError
        MLflow is not installed, the bundle cannot be read, or `out` is something else's.
    """
    pyfunc = _pyfunc()
    model = Bundle.load(bundle).model
    _check_target(Path(out), Path(bundle))
    example = _example(model.encoder)
    with atomic_folder(out) as folder, TemporaryDirectory() as scratch:
        pyfunc.save_model(
            folder,
            loader_module=__name__,
            data_path=shutil.copytree(bundle, Path(scratch) / "bundle"),
            signature=_signature(model, example),
            input_example=example,
            pip_requirements=_requirements(),
            metadata={"outcome": model.schema.primary, "arms": list(model.schema.arms)},
        )


def _load_pyfunc(path: str) -> ScoringModel:
    """Load the model of an exported bundle; MLflow calls it."""
    return ScoringModel(Bundle.load(path).model)


def _pyfunc() -> Any:
    try:
        import mlflow.pyfunc
    except ImportError as error:
        raise InputError(
            f"an MLflow model needs MLflow ({error}); install it: "
            "pip install 'request-uplift[mlflow]'."
        ) from error
    return mlflow.pyfunc


def _check_target(target: Path, bundle: Path) -> None:
    """Refuse to write over something else, or into the bundle."""
    if bundle.resolve() in target.resolve().parents:
        raise InputError(f"{str(target)!r} lies in the bundle; choose a folder outside it.")
    about = target / "MLmodel"
    ours = about.is_file() and f"loader_module: {__name__}\n" in about.read_text()
    if target.exists() and not ours:
        raise InputError(
            f"{str(target)!r} exists and is not an export of this command; choose another folder."
        )


def _signature(model: UpliftModel, example: "pd.DataFrame") -> Any:
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, Schema

    features = [ColSpec(_kind(model.encoder, name), name) for name in model.encoder.names]
    scores = [ColSpec("double", name) for name in ScoringModel(model).predict(example)]
    return ModelSignature(Schema(features), Schema(scores))


def _kind(encoder: FeatureEncoder, name: str) -> Any:
    """Return MLflow's type of a feature; numbers are doubles, for whole ones cannot be missing."""
    from mlflow.types.schema import AnyType

    kinds = {isinstance(value, str) for value in encoder.vocabulary.get(name, (0,))}
    if len(kinds) > 1:
        return AnyType()
    return "string" if kinds == {True} else "double"


def _example(encoder: FeatureEncoder) -> "pd.DataFrame":
    """Return a row: of each category the first, of each number 0."""
    import pandas as pd

    known = encoder.vocabulary
    row = {n: known[n][0] if known.get(n) else 0.0 for n in encoder.names}
    return pd.DataFrame([row])


def _requirements() -> list[str]:
    """Return what scores alike: this package and what shapes a score, in these versions."""
    versions = package_versions() | {"mlflow-skinny": version("mlflow-skinny")}
    own = f"request-uplift[mlflow]=={versions.pop('request-uplift')}"
    return [own, *(f"{name}=={number}" for name, number in versions.items())]
