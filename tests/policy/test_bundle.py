"""The bundle: it comes back as it was, or not at all."""

import json
from dataclasses import replace

import numpy as np
import pytest

from offline_eval.policies import walk
from policy.budget import Budget
from policy.bundle import FORMAT_VERSION, Bundle
from policy.manifest import _digest
from policy.plan import RequestPlan, plan_requests
from policy.problem import Limits
from uplift.errors import InputError


@pytest.fixture(scope="module")
def bundle(feed_model, feed_scores):
    plan = plan_requests(feed_scores, Budget.qps_share(0.1), Limits(per_page=2, min_gap=10))
    return Bundle(feed_model, plan, {"value": {"plan": 0.01}})


@pytest.fixture
def saved(bundle, tmp_path):
    bundle.save(tmp_path / "bundle")
    return tmp_path / "bundle"


def edit(bundle, **changes):
    """Change the manifest, and sign it anew."""
    path = bundle / "manifest.json"
    manifest = json.loads(path.read_text()) | changes
    del manifest["digest"]
    path.write_text(json.dumps(manifest | {"digest": _digest(manifest)}))


def test_round_trip_gives_the_same_decisions(bundle, saved, feed_log):
    again = Bundle.load(saved)
    before, after = (walk(b.plan.policy(b.model), feed_log) for b in (bundle, again))
    assert (before == after).all()
    assert before[:, 1].sum() > 0
    assert again.evidence == bundle.evidence
    assert again.plan.to_dict() == bundle.plan.to_dict()
    assert again.model.schema == bundle.model.schema


@pytest.mark.parametrize("learner", ["s", "logit"])
def test_every_learner_comes_back(feed_log, tmp_path, learner):
    from uplift.boosting import BoostParams
    from uplift.model import UpliftModel

    log = feed_log.take(np.arange(6000))
    model = UpliftModel.fit(log, learner, BoostParams(max_rounds=5, n_threads=1))
    Bundle(model).save(tmp_path / "b")
    again = Bundle.load(tmp_path / "b")
    assert (again.model.predict_outcome(log) == model.predict_outcome(log)).all()
    assert (again.plan, again.evidence) == (None, {})


def test_files_are_hashed_and_none_is_a_pickle(saved):
    files = {str(p.relative_to(saved)) for p in saved.rglob("*") if p.is_file()}
    manifest = json.loads((saved / "manifest.json").read_text())
    assert files == {"manifest.json", *manifest["sha256"]}
    assert {"plan.json", "evidence.json", "model/encoder.json", "model/learner.json"} < files
    assert {p.rsplit(".", 1)[1] for p in files} == {"json", "ubj"}
    assert not any((saved / p).read_bytes().startswith(b"\x80") for p in files)
    parts = {"format_version", "created", "schema", "versions", "sha256", "digest"}
    assert set(manifest) == parts


@pytest.mark.parametrize("name", ["plan.json", "evidence.json", "model/learner.json"])
def test_one_changed_byte_is_refused(saved, name):
    content = bytearray((saved / name).read_bytes())
    content[len(content) // 2] ^= 1
    (saved / name).write_bytes(content)
    with pytest.raises(InputError, match=f"file '{name}' of bundle .*sha256 differs"):
        Bundle.load(saved)


def test_a_missing_file_is_refused(saved):
    (saved / "plan.json").unlink()
    with pytest.raises(InputError, match=r"lacks the file 'plan.json'; export it anew"):
        Bundle.load(saved)


@pytest.mark.parametrize("version", [FORMAT_VERSION + 1, 0, "1", None])
def test_another_format_version_is_refused(saved, version):
    edit(saved, format_version=version)
    with pytest.raises(InputError, match=f"has format version {version}; this release reads"):
        Bundle.load(saved)


@pytest.mark.parametrize("absolute", [False, True])
def test_a_path_out_of_the_folder_is_refused(saved, absolute):
    outside = saved.parent / "secret.json"
    outside.write_text("{}")
    edit(saved, sha256={str(outside) if absolute else "../secret.json": "0"})
    with pytest.raises(InputError, match=r"lacks the file .*secret.json"):
        Bundle.load(saved)


def test_a_link_out_of_the_folder_is_refused(saved):
    (saved / "plan.json").rename(saved.parent / "plan.json")
    (saved / "plan.json").symlink_to(saved.parent / "plan.json")
    with pytest.raises(InputError, match="lacks the file"):
        Bundle.load(saved)


@pytest.mark.parametrize("text", ["", "[]", "3", "{}", '{"format_version": '])
def test_a_folder_without_a_manifest_is_no_bundle(tmp_path, text):
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(InputError, match=r"is not a bundle that can be read"):
        Bundle.load(tmp_path)


def test_a_text_file_is_no_bundle(tmp_path):
    (tmp_path / "bundle").write_text("hello")
    with pytest.raises(InputError, match="is not a bundle"):
        Bundle.load(tmp_path / "bundle")


def test_an_absent_bundle_is_told(tmp_path):
    with pytest.raises(InputError, match=r"bundle .* does not exist"):
        Bundle.load(tmp_path / "bundle")


def test_an_interrupted_write_leaves_the_old_bundle(bundle, saved, monkeypatch):
    before = {p: p.read_bytes() for p in saved.parent.rglob("*") if p.is_file()}

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(RequestPlan, "save", stop)
    with pytest.raises(KeyboardInterrupt):
        replace(bundle, evidence={"new": 1}).save(saved)
    assert {p: p.read_bytes() for p in saved.parent.rglob("*") if p.is_file()} == before
    assert list(saved.parent.iterdir()) == [saved]


def test_a_new_bundle_takes_the_place_of_the_old(bundle, saved):
    Bundle(bundle.model).save(saved)
    assert Bundle.load(saved).plan is None
    assert not (saved / "plan.json").exists()
    assert list(saved.parent.iterdir()) == [saved]


def test_a_folder_that_is_no_bundle_is_not_overwritten(bundle, tmp_path):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.txt").write_text("years of work")
    with pytest.raises(InputError, match="exists and is not a bundle; choose another"):
        bundle.save(tmp_path / "thesis")
    (tmp_path / "file").write_text("more work")
    with pytest.raises(InputError, match="exists and is not a bundle"):
        bundle.save(tmp_path / "file")
    assert (tmp_path / "thesis" / "chapter.txt").read_text() == "years of work"
    assert (tmp_path / "file").read_text() == "more work"


@pytest.mark.parametrize(
    "changes",
    [{"sha256": []}, {"sha256": 3}, {"schema": 3}, {"schema": {}}, {"sha256": {}}],
    ids=str,
)
def test_a_manifest_of_another_shape_is_refused(saved, changes):
    edit(saved, **changes)
    with pytest.raises(InputError, match=r"export it anew|schema"):
        Bundle.load(saved)


@pytest.mark.parametrize("name", ["model/encoder.json", "model/learner.json", "plan.json"])
def test_contents_of_another_shape_are_refused(saved, name):
    from hashlib import sha256

    (saved / name).write_text("{}")
    hashes = json.loads((saved / "manifest.json").read_text())["sha256"]
    edit(saved, sha256=hashes | {name: sha256(b"{}").hexdigest()})
    with pytest.raises(InputError, match="anew"):
        Bundle.load(saved)


def test_a_file_that_the_manifest_does_not_list_is_refused(saved):
    (saved / "model" / "more.ubj").write_bytes(b"more")
    with pytest.raises(InputError, match=r"more\.ubj.*does not list"):
        Bundle.load(saved)
