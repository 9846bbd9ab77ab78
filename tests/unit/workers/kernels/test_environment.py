"""What is seen to before a worker imports its kernels."""

from pathlib import Path

import pytest

from reckoner.shared.errors import SettingsError
from reckoner.shared.settings import Settings
from reckoner.workers.kernels.environment import prepare


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Settings with a home that is not there yet."""
    return Settings(home=str(tmp_path / "a höme"))


def test_kernels_are_kept_beside_their_source(settings: Settings, tmp_path: Path) -> None:
    """That is what numba does by itself, and what an installation has compiled is there for all homes."""
    environ: dict[str, str] = {}
    prepare(environ, settings, tmp_path)
    assert environ == {"OPENBLAS_NUM_THREADS": "1"}
    assert not settings.home_path.exists()


def test_kernels_are_kept_in_the_home_where_their_source_cannot_be_written(settings: Settings, tmp_path: Path) -> None:
    """A directory that is not there stands for one that cannot be written, which root has nowhere."""
    environ: dict[str, str] = {}
    prepare(environ, settings, tmp_path / "not there")
    assert environ["NUMBA_CACHE_DIR"] == str(settings.home_path / "numba")
    assert (settings.home_path / "numba").is_dir()


def test_given_variables_are_kept(settings: Settings, tmp_path: Path) -> None:
    """Who sets these variables has a reason."""
    chosen = {"NUMBA_CACHE_DIR": "chosen", "OPENBLAS_NUM_THREADS": "2"}
    environ = dict(chosen)
    prepare(environ, settings, tmp_path / "not there")
    assert environ == chosen


def test_a_cache_that_cannot_be_written_is_copied_whole(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As numba would not read it there; once for all who start, and anew when other kernels were compiled."""
    filled = tmp_path / "filled" / "kernels_of_an_image"
    filled.mkdir(parents=True)
    (filled / "kernel.py313.nbi").write_bytes(b"index")
    (filled / "kernel.py313.1.nbc").write_bytes(b"code")
    # Root may write everywhere; nothing else can be denied it here.
    monkeypatch.setattr("reckoner.workers.kernels.environment._can_be_written", lambda path: path != filled.parent)

    def copied() -> Path:
        environ = {"NUMBA_CACHE_DIR": str(filled.parent)}
        prepare(environ, settings, tmp_path)
        return Path(environ["NUMBA_CACHE_DIR"])

    first = copied()
    assert first.parent == settings.home_path / "numba"
    names = sorted(file.name for file in filled.iterdir())
    assert sorted(file.name for file in (first / filled.name).iterdir()) == names
    assert copied() == first
    (filled / "kernel.py313.1.nbc").write_bytes(b"other code")
    other = copied()
    assert other != first
    assert (other / filled.name / "kernel.py313.1.nbc").read_bytes() == b"other code"
    assert sorted(other.parent.iterdir()) == sorted([first, other])


def test_a_missing_directory_for_kernels_is_reported(tmp_path: Path) -> None:
    """It names what can be set."""
    (tmp_path / "file").touch()
    with pytest.raises(SettingsError, match="Set RECKONER_HOME or NUMBA_CACHE_DIR to a writable directory"):
        prepare({}, Settings(home=str(tmp_path / "file")), tmp_path / "not there")
