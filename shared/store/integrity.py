"""Integrity: checks that an artifact's arrays are valid, since kernels do not check them again.

Each check reads its arrays a slice at a time, and raises an ArtifactDamagedError that names the file.
"""

from collections.abc import Iterator
from itertools import chain, pairwise

import numpy as np

from reckoner.shared.ids import MAX_ID_BYTES
from reckoner.shared.store.artifacts import Artifact
from reckoner.shared.store.identifiers import TextTable

AT_ONCE = 1 << 20


def check_pointers(artifact: Artifact, name: str, end: int) -> None:
    """Check that int64 pointers begin at 0, never fall, and end at `end`."""
    pointers = artifact.arrays[name]
    if pointers[0] != 0 or pointers[-1] != end:
        raise artifact.damage(name, f"does not lead from 0 to {end}")
    if any((pointers[some.start + 1 : some.stop + 1] < pointers[some]).any() for some in _slices(pointers.size - 1)):
        raise artifact.damage(name, "has a pointer before the one ahead of it")


def check_rows(artifact: Artifact, name: str, pointers: str, count: int) -> None:
    """Check that uint32 indices are below `count` and ascend within each row of checked pointers."""
    indices, begins = artifact.arrays[name], artifact.arrays[pointers]
    for some in _slices(indices.size):
        if (highest := int(indices[some].max())) >= count:
            raise artifact.damage(name, f"has the index {highest}, but there are only {count}")
        after = indices[some.start + 1 : some.stop + 1]
        falls = np.flatnonzero(after <= indices[some.start : some.start + after.size]) + some.start + 1
        if (begins[np.searchsorted(begins, falls)] != falls).any():
            raise artifact.damage(name, "does not ascend within each row")


def check_counts(artifact: Artifact, name: str, indices: str) -> None:
    """Check that int64 pointers[n + 1] count the entries of each index in another array."""
    pointers, held = artifact.arrays[name], artifact.arrays[indices]
    counts = np.zeros(pointers.size - 1, np.int64)
    for some in _slices(held.size):
        counts += np.bincount(held[some], minlength=counts.size)
    if pointers[0] != 0 or (np.diff(pointers) != counts).any():
        raise artifact.damage(name, f"does not count what {indices}.npy holds")


def check_values(artifact: Artifact, name: str) -> None:
    """Check that float32 values are finite and above zero."""
    values = artifact.arrays[name]
    if not all(((values[some] > 0) & (values[some] < np.inf)).all() for some in _slices(values.size)):
        raise artifact.damage(name, "has a value that is not a finite number above zero")


def check_texts(artifact: Artifact, name: str, *, are_ids: bool) -> None:
    """Check that texts are UTF-8, and ids distinct, sorted by their bytes, and not too long."""
    offsets, blob = artifact.arrays[f"{name}_offsets"], artifact.arrays[f"{name}_blob"]
    check_pointers(artifact, f"{name}_offsets", blob.size)
    lengths = np.diff(offsets)
    if are_ids and int(lengths.max(initial=0)) > MAX_ID_BYTES:
        raise artifact.damage(f"{name}_offsets", f"has an id of more than {MAX_ID_BYTES:,} bytes")
    # If no text begins within a character and all together are UTF-8, each text is.
    if ((blob[offsets[:-1][lengths > 0]] & 0xC0) == 0x80).any():
        raise artifact.damage(f"{name}_offsets", "points into the middle of a character")
    before: tuple[bytes, ...] = ()
    for page in TextTable(offsets, blob).pages():
        try:
            b"".join(page).decode()
        except UnicodeDecodeError as error:
            raise artifact.damage(f"{name}_blob", "is not UTF-8 text") from error
        if are_ids and any(first >= second for first, second in pairwise(chain(before, page))):
            raise artifact.damage(f"{name}_blob", "has ids that are not distinct and sorted")
        before = (page[-1],)


def _slices(size: int) -> Iterator[slice]:
    for start in range(0, size, AT_ONCE):
        yield slice(start, min(start + AT_ONCE, size))
