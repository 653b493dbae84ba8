"""The MLflow model of a bundle: it scores as the bundle does, wherever MLflow loads it."""

import json
import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from policy.bundle import Bundle
from policy.export import _kind, export_mlflow
from uplift.errors import InputError
from uplift.features import FeatureEncoder
from uplift.log import RequestLog

os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"  # tests call no one

SCORE = """
import sys, mlflow.pyfunc, pandas as pd
model = mlflow.pyfunc.load_model(sys.argv[1])
model.predict(pd.read_pickle(sys.argv[2])).to_pickle(sys.argv[3])
"""


@pytest.fixture(scope="module")
def bundle(feed_model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("export") / "bundle"
    Bundle(feed_model).save(folder)
    return folder


@pytest.fixture(scope="module")
def exported(bundle):
    export_mlflow(bundle, bundle.parent / "model")
    return bundle.parent / "model"


@pytest.fixture(scope="module")
def frame(feed_log):
    """Rows as MLflow takes them, with missing values, unseen categories and an index of its own."""
    some = feed_log.take(np.arange(5_000)).frame[list(feed_log.features)]
    texts = some.select_dtypes("category").columns
    rows = some.astype(dict.fromkeys(texts, object)).sample(frac=1.0, random_state=0)
    rows.iloc[:40, 3] = np.nan
    rows.iloc[20:60, 0] = None
    rows.iloc[60:80, 0] = "of another planet"
    return rows


def test_a_fresh_process_scores_as_the_bundle_does(bundle, exported, frame, tmp_path):
    frame.to_pickle(tmp_path / "rows")
    command = [sys.executable, "-c", SCORE, exported, tmp_path / "rows", tmp_path / "scores"]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found, model = pd.read_pickle(tmp_path / "scores"), Bundle.load(bundle).model
    expected = model.score(RequestLog.unchecked(frame, model.schema))
    assert list(found) == ["outcome_none", "outcome_request", "uplift_request"]
    assert found.index.equals(frame.index)
    np.testing.assert_array_equal(found[["outcome_none", "outcome_request"]], expected.outcome)
    np.testing.assert_array_equal(found[["uplift_request"]], expected.uplift)


def test_it_says_what_it_takes_and_gives(exported, feed_model, frame):
    import mlflow.pyfunc

    model = mlflow.pyfunc.load_model(str(exported))
    inputs, outputs = model.metadata.signature.inputs, model.metadata.signature.outputs
    kinds = {one.name: one.type.name for one in inputs}
    texts = set(feed_model.encoder.vocabulary)
    assert list(kinds) == list(feed_model.encoder.names)
    assert {name for name, kind in kinds.items() if kind == "string"} == texts
    assert {kind for name, kind in kinds.items() if name not in texts} == {"double"}
    assert outputs.input_names() == ["outcome_none", "outcome_request", "uplift_request"]
    assert len(model.predict(model.input_example)) == 1
    assert len(model.predict(frame.iloc[:0])) == 0
    assert model.metadata.metadata == {"outcome": "purchase_10", "arms": ["none", "request"]}
    with pytest.raises(mlflow.MlflowException, match=r"missing inputs \['f_dwell'\]"):
        model.predict(frame.drop(columns="f_dwell"))


def test_the_folder_holds_the_bundle_and_no_pickle(bundle, exported):
    files = [path for path in exported.rglob("*") if path.is_file()]
    assert {path.suffix for path in files} <= {".json", ".ubj", ".yaml", ".txt", ""}
    assert not any(path.read_bytes().startswith(b"\x80") for path in files)
    assert "cloudpickle" not in (exported / "MLmodel").read_text()
    for path in bundle.rglob("*"):
        copy = exported / "data" / "bundle" / path.relative_to(bundle)
        assert path.is_dir() or copy.read_bytes() == path.read_bytes()
    json.loads((exported / "input_example.json").read_text(), parse_constant=pytest.fail)


def test_requirements_name_this_package(exported):
    lines = (exported / "requirements.txt").read_text().splitlines()
    names = {line.split("==")[0] for line in lines}
    assert {"request-uplift[mlflow]", "xgboost", "numpy", "mlflow-skinny"} <= names
    assert "mlflow" not in names
    assert all("==" in line for line in lines)


def test_a_changed_byte_is_refused_when_it_is_loaded(bundle, exported, tmp_path):
    import mlflow.pyfunc

    export_mlflow(bundle, tmp_path / "model")
    boosters = sorted((tmp_path / "model").rglob("*.ubj"))
    content = bytearray(boosters[0].read_bytes())
    content[len(content) // 2] ^= 1
    boosters[0].write_bytes(content)
    with pytest.raises(InputError, match="sha256 differs"):
        mlflow.pyfunc.load_model(str(tmp_path / "model"))


def test_only_an_export_is_written_over(bundle, exported, tmp_path, monkeypatch):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "MLmodel").write_text("flavors: {}\n")
    (tmp_path / "file").write_text("years of work")
    for name in ("thesis", "file"):
        with pytest.raises(InputError, match="exists and is not an export of this command"):
            export_mlflow(bundle, tmp_path / name)
    assert (tmp_path / "file").read_text() == "years of work"
    with pytest.raises(InputError, match="exists and is not an export"):
        export_mlflow(bundle, bundle)
    with pytest.raises(InputError, match="lies in the bundle; choose a folder outside"):
        export_mlflow(bundle, bundle / "model")
    export_mlflow(bundle, tmp_path / "model")
    before = (tmp_path / "model" / "MLmodel").read_bytes()
    export_mlflow(tmp_path / "model" / "data" / "bundle", tmp_path / "model")
    assert (tmp_path / "model" / "MLmodel").read_bytes() != before
    assert {path.name for path in tmp_path.iterdir()} == {"thesis", "file", "model"}


def test_an_interrupted_export_leaves_the_old(bundle, tmp_path, monkeypatch):
    import mlflow.pyfunc

    export_mlflow(bundle, tmp_path / "model")
    before = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}

    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(mlflow.pyfunc, "save_model", stop)
    with pytest.raises(KeyboardInterrupt):
        export_mlflow(bundle, tmp_path / "model")
    assert {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()} == before


def test_without_mlflow_it_says_what_to_install(bundle, tmp_path, cli, monkeypatch):
    for name in ("mlflow", "mlflow.pyfunc"):
        monkeypatch.setitem(sys.modules, name, None)
    code, _, error = cli("export", bundle, "--mlflow", tmp_path / "model")
    assert code == 2
    assert "pip install 'request-uplift[mlflow]'" in error
    assert not (tmp_path / "model").exists()


def test_the_command_exports(bundle, exported, tmp_path, cli):
    code, out, _ = cli("export", bundle, "--mlflow", tmp_path / "model", "--json")
    assert (code, json.loads(out)) == (0, {"model": str(tmp_path / "model")})
    assert (tmp_path / "model" / "MLmodel").is_file()


def test_kinds_of_features():
    vocabulary = {"t": ("a", "b"), "n": (1, 2.5), "m": (1, "b"), "none": ()}
    encoder = FeatureEncoder((*vocabulary, "x"), vocabulary)
    kinds = [str(_kind(encoder, name)) for name in encoder.names]
    assert kinds == ["string", "double", "Any", "double", "double"]
