"""What an artifact means is checked beside its hashes: whatever is in its files, it opens sound or in one sentence."""

import io
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from reckoner.shared.errors import ArtifactDamagedError, ForeignFormatError
from reckoner.shared.store.catalogue import FOR_EVER, make_catalogue
from reckoner.shared.store.manifests import MANIFEST_NAME, read_manifest
from reckoner.shared.store.model_config import ModelConfig
from reckoner.shared.store.models import open_model, write_model
from reckoner.shared.store.snapshots import Pairs, open_snapshot, write_snapshot
from tests.tampering import flip, put, rewrite, write_manifest

Change = Callable[[NDArray[Any]], NDArray[Any]]
OPENERS: dict[str, Callable[..., Any]] = {"model": open_model, "snapshot": open_snapshot}
# One bit of an index of 40 that was found to end every worker.
FAR_OUT = 268_435_547


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A model and a snapshot that are sound."""
    places = {name: tmp_path_factory.mktemp(name) / "artifact" for name in OPENERS}
    for place in places.values():
        place.mkdir()
    write_model(
        places["model"],
        snapshot_id="s",
        config=ModelConfig(neighbours=2),
        row_ptr=np.array([0, 2, 3, 3]),
        row_items=np.array([1, 2, 2], np.uint32),
        row_values=np.array([0.5, 0.25, 1.0], np.float32),
    )
    write_snapshot(
        places["snapshot"],
        user_ids=["", "u", "ü"],
        item_ids=["i", "j", "ö"],
        users=np.array([0, 1, 1, 2]),
        items=np.array([2, 0, 1, 1]),
        weights=np.array([1.0, 2.0, 0.5, 1.0]),
        times=np.array([1, 2, 3, 4]),
        titles=["", "a title", "ü"],
        catalogue=make_catalogue(
            [["new"], ["sale", "new"], []], np.array([0, 5, 0]), np.array([9, FOR_EVER, FOR_EVER])
        ),
        left=Pairs(np.array([0, 0, 2]), np.array([0, 2, 1])),
    )
    return places


def copy(written: dict[str, Path], kind: str, place: Path) -> Path:
    return Path(shutil.copytree(written[kind], place / "an artifact"))


def as_type(dtype: str) -> Change:
    return lambda array: array.astype(dtype)


def longer(array: NDArray[Any]) -> NDArray[Any]:
    return np.append(array, array[-1:])


@pytest.mark.parametrize("kind", list(OPENERS))
def test_what_was_written_is_sound(written: dict[str, Path], kind: str) -> None:
    """Whatever of it is looked at."""
    OPENERS[kind](written[kind], verify=True)


@pytest.mark.parametrize(
    ("kind", "name", "change", "said"),
    [
        ("model", "row_items", put(2, FAR_OUT), f"has the index {FAR_OUT}, but there are only 3"),
        ("model", "row_items", put(1, 1), "does not ascend within each row"),
        ("model", "row_ptr", put(1, 2**40), "has a pointer before the one ahead of it"),
        ("model", "row_ptr", put(1, -1), "has a pointer before the one ahead of it"),
        ("model", "row_ptr", put(0, 1), "does not lead from 0 to 3"),
        ("model", "row_ptr", put(1, 3), "has a row of more than 2 neighbours"),
        ("model", "row_values", put(0, np.inf), "has a value that is not a finite number above zero"),
        ("model", "row_values", put(0, np.nan), "has a value that is not a finite number above zero"),
        ("model", "row_values", put(0, 0), "has a value that is not a finite number above zero"),
        ("model", "candidate_ptr", put(1, 1), "does not count what row_items.npy holds"),
        ("model", "candidate_ptr", put(-1, 2**40), "does not count what row_items.npy holds"),
        ("snapshot", "user_items", put(1, FAR_OUT), f"has the index {FAR_OUT}, but there are only 3"),
        ("snapshot", "user_items", put(2, 0), "does not ascend within each row"),
        ("snapshot", "item_users", put(0, 3), "has the index 3, but there are only 3"),
        ("snapshot", "user_ptr", put(1, 2**60), "has a pointer before the one ahead of it"),
        ("snapshot", "user_weights", put(0, -1), "has a value that is not a finite number above zero"),
        ("snapshot", "item_weights", put(0, np.nan), "has a value that is not a finite number above zero"),
        ("snapshot", "left_ptr", put(1, 2**60), "has a pointer before the one ahead of it"),
        ("snapshot", "left_ptr", put(-1, 2), "does not lead from 0 to 3"),
        ("snapshot", "left_items", put(2, FAR_OUT), f"has the index {FAR_OUT}, but there are only 3"),
        ("snapshot", "left_items", put(1, 0), "does not ascend within each row"),
        ("snapshot", "user_ids_offsets", put(1, 2**60), "has a pointer before the one ahead of it"),
        ("snapshot", "user_ids_offsets", put(2, 2), "points into the middle of a character"),
        ("snapshot", "item_ids_blob", put(0, ord("k")), "has ids that are not distinct and sorted"),
        ("snapshot", "user_ids_blob", put(2, 0), "is not UTF-8 text"),
        ("snapshot", "titles_blob", put(-1, 0), "is not UTF-8 text"),
        ("snapshot", "titles_offsets", put(0, -5), "does not lead from 0 to 9"),
        ("snapshot", "item_tags", put(1, 2), "has the index 2, but there are only 2"),
        ("snapshot", "item_tags", put(1, 1), "does not ascend within each row"),
        ("snapshot", "item_tag_ptr", put(1, 9), "has a pointer before the one ahead of it"),
        ("snapshot", "tags_blob", put(0, ord("z")), "has ids that are not distinct and sorted"),
        ("snapshot", "tags_offsets", put(0, 1), "does not lead from 0 to 7"),
    ],
)
def test_what_means_nothing_is_damage(
    written: dict[str, Path], tmp_path: Path, kind: str, name: str, change: Change, said: str
) -> None:
    """Also where its hash is right, as whoever has written it so may have hashed it too; the file is named."""
    directory = copy(written, kind, tmp_path)
    rewrite(directory, name, change)
    with pytest.raises(ArtifactDamagedError) as caught:
        OPENERS[kind](directory, verify=True)
    [sentence] = str(caught.value).splitlines()
    assert sentence.startswith(f"{name}.npy of artifact ")
    assert sentence.endswith(f" {said}.")


@pytest.mark.parametrize(("name", "value", "pointers"), [("item_users", 2, "user_ptr"), ("user_items", 2, "item_ptr")])
def test_rows_and_columns_that_do_not_hold_the_same_are_damage(
    written: dict[str, Path], tmp_path: Path, name: str, value: int, pointers: str
) -> None:
    """As many of each user and of each item."""
    directory = copy(written, "snapshot", tmp_path)
    rewrite(directory, name, put(3, value))
    with pytest.raises(ArtifactDamagedError, match=rf"{pointers}\.npy .* does not count what {name}\.npy holds"):
        open_snapshot(directory, verify=True)


@pytest.mark.parametrize("verify", [False, True])
@pytest.mark.parametrize("change", [as_type("int8"), as_type("complex128"), longer, np.atleast_2d, lambda a: a[:0]])
@pytest.mark.parametrize("kind", list(OPENERS))
def test_arrays_of_another_type_or_shape_are_damage(
    written: dict[str, Path], tmp_path: Path, kind: str, change: Change, verify: bool
) -> None:
    """Which is always looked at, for each array in turn; also that it is there at all."""
    _, manifest = read_manifest(written[kind])
    for number, name in enumerate(manifest.arrays):
        directory = copy(written, kind, tmp_path / f"{number}")
        rewrite(directory, name, change)
        # The manifest says neither the length of a blob nor the number of tags.
        if change is longer and (name.endswith("_blob") or name == "tags_offsets") and not verify:
            continue
        with pytest.raises(ArtifactDamagedError, match=r"^\w+\.npy of artifact "):
            OPENERS[kind](directory, verify=verify or name.endswith("_blob"))
        arrays = {other: file for other, file in manifest.arrays.items() if other != name}
        write_manifest(directory, msgspec.structs.replace(manifest, arrays=arrays))
        if name not in ("user_times", "titles_blob", "available_from", "available_until"):
            with pytest.raises(ArtifactDamagedError):
                OPENERS[kind](directory, verify=verify)


@pytest.mark.parametrize(
    ("kind", "facts"),
    [
        ("model", {}),
        ("model", {"items": 10**40}),
        ("model", {"entries": "3"}),
        ("model", {"kernel_version": "1"}),
        ("model", {"kernel_version": 2}),
        ("model", {"snapshot": "another"}),
        ("model", {"config": {"similarity": "cosine", "neighbours": 3, "shrink": 0.0}}),
        ("model", {"config": {"similarity": "cosine", "neighbours": 2, "shrink": 1e300}}),
        ("snapshot", {"users": 10**40}),
        ("snapshot", {"items": -1}),
        ("snapshot", {"interactions": None}),
        ("snapshot", {"more": 1}),
    ],
)
def test_facts_that_are_not_those_of_the_files_are_damage(
    written: dict[str, Path], tmp_path: Path, kind: str, facts: dict[str, Any]
) -> None:
    """Those of a model name it."""
    directory = copy(written, kind, tmp_path)
    _, manifest = read_manifest(directory)
    write_manifest(directory, msgspec.structs.replace(manifest, facts=manifest.facts | facts if facts else {}))
    with pytest.raises(ArtifactDamagedError, match=r"\.(npy|json) of artifact "):
        OPENERS[kind](directory)


@pytest.mark.parametrize("kind", list(OPENERS))
def test_another_format_is_damage_of_its_own_kind(written: dict[str, Path], tmp_path: Path, kind: str) -> None:
    """It has its own error, so that no worker removes the artifacts of another release."""
    directory = copy(written, kind, tmp_path)
    _, manifest = read_manifest(directory)
    write_manifest(directory, msgspec.structs.replace(manifest, format=7))
    with pytest.raises(ForeignFormatError, match=r"format 7, .* format 1: it is from another release, or damaged"):
        OPENERS[kind](directory)


def header(text: str) -> bytes:
    file = io.BytesIO()
    file.write(b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode("latin1"))
    return file.getvalue()


@pytest.mark.parametrize(
    "data",
    [
        header("{'descr': '<u4', 'fortran_order': False, 'shape': (18446744073709551615,), }\n"),
        header("{'descr': '<u4', 'fortran_order': False, 'shape': (-1,), }\n"),
        header("{'descr': '|O', 'fortran_order': False, 'shape': (3,), }\n"),
        header("{'descr': '<u4', 'fortran_order': False, 'shape': " + "(" * 3000 + ")" * 3000 + ", }\n"),
        header("{'descr': " + "[" * 5000 + ", }\n"),
        header("'''"),
        header("{1: 2, 'descr': 3}"),
        header("{'descr': '<u4', 'fortran_order': 7, 'shape': (3,), }\n"),
        b"\x93NUMPY\x09\x00",
        b"PK\x03\x04",
        b"\x80\x04cos\nsystem\n.",
    ],
    ids=range(11),
)
def test_a_hostile_file_is_one_sentence(written: dict[str, Path], tmp_path: Path, data: bytes) -> None:
    """Whatever numpy makes of it."""
    directory = copy(written, "model", tmp_path)
    path = directory / "row_items.npy"
    path.unlink()
    path.write_bytes(data)
    _, manifest = read_manifest(directory)
    file = msgspec.structs.replace(manifest.arrays["row_items"], size=len(data))
    for shape in (file.shape, (0,), (2**62,), (-1,)):
        arrays = manifest.arrays | {"row_items": msgspec.structs.replace(file, shape=shape)}
        write_manifest(directory, msgspec.structs.replace(manifest, arrays=arrays))
        with pytest.raises(ArtifactDamagedError, match=r"^row_items\.npy of artifact an artifact [^\n]+\.$"):
            open_model(directory)


@given(st.data())
def test_any_flipped_bit_is_detected_or_harmless(
    written: dict[str, Path], tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """In any file, the manifest too, where it may stand in a blank; never is anything else raised."""
    kind = data.draw(st.sampled_from(list(OPENERS)))
    directory = copy(written, kind, tmp_path_factory.mktemp("flipped"))
    path = data.draw(st.sampled_from(sorted(directory.iterdir())))
    flip(path, data.draw(st.integers(0, path.stat().st_size - 1)), data.draw(st.integers(0, 7)))
    try:
        OPENERS[kind](directory, verify=True)
    except ArtifactDamagedError as damage:
        sentence = str(damage)
    else:
        assert path.name == MANIFEST_NAME
        return
    assert len(sentence.splitlines()) == 1
