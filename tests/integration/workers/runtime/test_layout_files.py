"""Layouts in files: made once for a host, mapped by all its processes, and never used when damaged."""

import errno
import fcntl
import os
import resource
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import IO

import pytest

from reckoner.shared.store.models import Model, open_model
from reckoner.shared.store.verification import VerificationCache
from reckoner.shared.wire.shapes import UserSpec
from reckoner.workers.engine.outcomes import NotNowError
from reckoner.workers.kernels.scoring.candidates import Candidates, lay_out
from reckoner.workers.runtime import layout_files
from reckoner.workers.runtime.artifact_opener import ArtifactOpener
from reckoner.workers.runtime.layout_files import ARRAYS_AT, MARKER, Layout, LayoutFiles
from reckoner.workers.runtime.layouts import MODELS, Layouts
from reckoner.workers.runtime.runtime import Runtime
from reckoner.workers.runtime.scheduling import Scheduler
from tests.building import flag, same_bytes
from tests.tampering import flip
from tests.world import Hand, World


def process(place: Path) -> LayoutFiles:
    """The files as another process sees them: locks belong to open files."""
    return LayoutFiles(place / "layouts", VerificationCache(place / "verified"))


def candidates_of(world: World, first: int = 0, last: int = 40) -> Candidates:
    model = opened(world)
    found = lay_out(model.row_ptr, model.row_items, model.row_values, first, last, stop=flag())
    assert found is not None
    return found


def opened(world: World, number: int = 1) -> Model:
    return open_model(world.store.fetch("models", world.generations[number].record.model))


def publish(files: LayoutFiles, name: str, candidates: Candidates) -> Layout:
    file = files.begin(name)
    assert file is not None
    with file:
        layout = files.publish(file, name, candidates)
    assert layout is not None
    return layout


def names(place: Path) -> list[str]:
    return sorted(path.name for path in (place / "layouts").rglob("*") if path.is_file() and path.name != MARKER)


@pytest.mark.parametrize("span", [(0, 40), (3, 17), (5, 5)])
def test_a_layout_is_mapped_by_other_processes(world: World, tmp_path: Path, span: tuple[int, int]) -> None:
    """Read-only and with the same bytes; also one of an empty range."""
    candidates = candidates_of(world, *span)
    publish(process(tmp_path), "a.v.0-40", candidates)
    found = process(tmp_path).open("a.v.0-40")
    assert found is not None
    assert same_bytes(found.candidates, candidates)
    assert not any(array.flags.writeable for array in found.candidates)
    assert names(tmp_path) == ["a.v.0-40"]


def test_a_layout_is_made_by_one_process_at_a_time(world: World, tmp_path: Path) -> None:
    """Another one may begin when the first has died, and overwrites what it left."""
    one, two = process(tmp_path), process(tmp_path)
    file = one.begin("a.v.0-40")
    assert file is not None
    file.write(b"of a process that dies" * 10_000)
    file.flush()
    assert two.open_or_begin("a.v.0-40") is None
    file.close()
    candidates = candidates_of(world)
    assert same_bytes(publish(two, "a.v.0-40", candidates).candidates, candidates)
    found = one.open_or_begin("a.v.0-40")
    assert isinstance(found, Layout)
    assert names(tmp_path) == ["a.v.0-40"]


def test_a_layout_has_its_name_before_its_maker_lets_go_of_the_lock(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Turning an exclusive lock into a shared one releases it: another process maps the layout then, or begins one."""
    one, two, found = process(tmp_path), process(tmp_path), list[Layout | IO[bytes] | None]()
    file = one.begin("a.v.0-40")
    assert file is not None
    lock = fcntl.flock

    def convert(descriptor: IO[bytes] | int, operation: int) -> None:
        if descriptor is file and operation == fcntl.LOCK_SH:
            lock(descriptor, fcntl.LOCK_UN)
            found.append(two.open_or_begin("a.v.0-40"))
        lock(descriptor, operation | fcntl.LOCK_NB)

    monkeypatch.setattr(fcntl, "flock", convert)
    with file:
        assert one.publish(file, "a.v.0-40", candidates_of(world)) is not None
    assert [type(layout) for layout in found] == [Layout]


@pytest.mark.parametrize("at", [0, 20, 70, 100, ARRAYS_AT, ARRAYS_AT + 900, -1])
def test_a_layout_with_a_flipped_bit_is_removed(world: World, tmp_path: Path, at: int) -> None:
    """Wherever the bit is."""
    files = process(tmp_path)
    publish(files, "a.v.0-40", candidates_of(world))
    [path] = (tmp_path / "layouts").rglob("a.v.0-40")
    flip(path, at % path.stat().st_size, 2)
    assert files.open("a.v.0-40") is None
    assert names(tmp_path) == []


@pytest.mark.parametrize("size", [0, 7, ARRAYS_AT - 1, ARRAYS_AT, -1])
def test_a_layout_that_was_cut_is_removed(world: World, tmp_path: Path, size: int) -> None:
    """Also one without a head."""
    files = process(tmp_path)
    publish(files, "a.v.0-40", candidates_of(world))
    [path] = (tmp_path / "layouts").rglob("a.v.0-40")
    os.truncate(path, size % path.stat().st_size)
    assert files.open("a.v.0-40") is None
    assert names(tmp_path) == []


def test_a_host_verifies_a_layout_once(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And again when its file was written to, even with the same bytes."""
    asked, read = list[bool](), layout_files._read

    def note_and_read(data: memoryview, *, verify: bool) -> Candidates | None:
        asked.append(verify)
        return read(data, verify=verify)

    monkeypatch.setattr(layout_files, "_read", note_and_read)
    publish(process(tmp_path), "a.v.0-40", candidates_of(world))
    process(tmp_path).open("a.v.0-40")
    [path] = (tmp_path / "layouts").rglob("a.v.0-40")
    flip(path, ARRAYS_AT, 0)
    flip(path, ARRAYS_AT, 0)
    assert process(tmp_path).open("a.v.0-40") is not None
    assert asked == [True, False, True]


def test_layouts_that_no_process_uses_are_removed(world: World, tmp_path: Path) -> None:
    """A mapped one stays, with its model's other ranges if asked for; what a dead process left goes."""
    files = process(tmp_path)
    mapped = publish(files, "a.v.0-40", candidates_of(world))
    for name in ("a.v.0-20", "a.w.0-40", "b.v.0-40"):
        publish(files, name, candidates_of(world))
    dead = files.begin("c.v.0-40")
    assert dead is not None
    dead.close()
    process(tmp_path).remove_unused(but_siblings=True)
    assert names(tmp_path) == ["a.v.0-20", "a.v.0-40"]
    process(tmp_path).remove_unused()
    assert names(tmp_path) == ["a.v.0-40"]
    del mapped
    process(tmp_path).remove_unused()
    assert names(tmp_path) == []


def test_unused_layouts_are_removed_from_a_home_on_nfs(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where an exclusive lock needs a file that is open for writing."""
    flock = fcntl.flock

    def flock_of_nfs(file: IO[bytes], operation: int) -> None:
        if operation & fcntl.LOCK_EX and fcntl.fcntl(file, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
            raise OSError(errno.EBADF, "Bad file descriptor")
        flock(file, operation)

    monkeypatch.setattr(fcntl, "flock", flock_of_nfs)
    mapped = publish(process(tmp_path), "a.v.0-40", candidates_of(world))
    for name in ("a.v.0-20", "b.v.0-40"):
        publish(process(tmp_path), name, candidates_of(world))
    process(tmp_path).remove_unused(but_siblings=True)
    assert names(tmp_path) == ["a.v.0-20", "a.v.0-40"]
    del mapped
    process(tmp_path).remove_unused()
    assert names(tmp_path) == []


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """A write beyond so many bytes of a file fails, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("size", [0, ARRAYS_AT - 1, ARRAYS_AT + 1000])
def test_a_layout_that_did_not_fit_on_the_disk_can_be_closed(world: World, tmp_path: Path, size: int) -> None:
    """Its task goes on with the layout in memory; the next process overwrites the rest of the file."""
    candidates = candidates_of(world)
    file = process(tmp_path).begin("a.v.0-40")
    assert file is not None
    with largest_file(size):
        with pytest.raises(OSError, match="too large"):
            process(tmp_path).publish(file, "a.v.0-40", candidates)
        file.close()
    assert names(tmp_path) == ["a.v.0-40.new"]
    assert same_bytes(publish(process(tmp_path), "a.v.0-40", candidates).candidates, candidates)


def test_a_layout_that_was_published_meanwhile_is_not_begun(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that opened the new file just before would overwrite a published one."""
    candidates, flock = candidates_of(world), fcntl.flock

    def publish_first(file: IO[bytes], operation: int) -> None:
        monkeypatch.setattr(fcntl, "flock", flock)
        publish(process(tmp_path), "a.v.0-40", candidates)
        flock(file, operation)

    monkeypatch.setattr(fcntl, "flock", publish_first)
    assert process(tmp_path).begin("a.v.0-40") is None
    assert names(tmp_path) == ["a.v.0-40"]


def test_layouts_of_earlier_boots_are_removed_after_a_day(tmp_path: Path) -> None:
    """Another host may use the same home."""
    other = tmp_path / "layouts" / "another boot"
    other.mkdir(parents=True)
    (other / MARKER).touch()
    with process(tmp_path).begin("a.v.0-40") or nullcontext():
        process(tmp_path).remove_unused()
    assert other.exists()
    os.utime(other / MARKER, (0, 0))
    process(tmp_path).remove_unused()
    assert not other.exists()


def test_a_rebuilt_model_has_layouts_of_its_own(tmp_path: Path) -> None:
    """Its id is the same, but not the fingerprint of its files."""
    files = process(tmp_path)
    assert files.name("a", "one", 0, 40) != files.name("a", "two", 0, 40)
    assert files.name("a", "one", 0, 40) == process(tmp_path).name("a", "one", 0, 40)


@pytest.fixture
def world(own_world: World) -> World:
    """The test's own: what another test laid out on this host is not there."""
    return own_world


class CountedLayouts(Layouts):
    """Layouts that count how many were made."""

    made = 0

    def make(self, *arguments: object) -> Candidates | None:
        self.made += 1
        return super().make(*arguments)  # type: ignore[arg-type]


def with_layouts(hand: Hand, place: Path) -> tuple[Runtime, CountedLayouts]:
    """The runtime of another process on this host."""
    layouts, verified = CountedLayouts(process(place)), VerificationCache(place / "verified")
    opener = ArtifactOpener(hand.runtime.store, verified, on_invalidate=layouts.files.remove)
    return replace(hand.runtime, layouts=layouts, artifact_opener=opener, _shared_work={}), layouts


async def test_two_processes_of_a_host_make_a_layout_once(hand: Hand, own_world: World, tmp_path: Path) -> None:
    """The second one maps the same file."""
    generation = await hand.adopt(own_world)
    model = await hand.runtime.model(generation.record.model)
    (one, first), (two, second) = with_layouts(hand, tmp_path), with_layouts(hand, tmp_path)
    made, mapped = await one.layout(model, 0, 40, "batch"), await two.layout(model, 0, 40, "click")
    assert (first.made, second.made) == (1, 0)
    assert same_bytes(made.candidates, mapped.candidates)
    assert second.cached(model, 0, 40) is mapped


async def test_a_layout_in_the_making_hands_tasks_back(hand: Hand, own_world: World, tmp_path: Path) -> None:
    """No try is used up; when its maker dies, the next task makes it."""
    generation = await hand.adopt(own_world)
    model = await hand.runtime.model(generation.record.model)
    waiting, layouts = with_layouts(hand, tmp_path)
    waiting = replace(waiting, scheduler=Scheduler({"click": 1, "batch": 1}, patience_s=0.1))
    _, check = waiting._models.get(model.id)
    assert check is not None
    file = layouts.files.begin(layouts.files.name(model.id, check.opened, 0, 40))
    assert file is not None
    with file, pytest.raises(NotNowError):
        await waiting.layout(model, 0, 40, "click")
    await replace(waiting, scheduler=hand.runtime.scheduler).layout(model, 0, 40, "click")
    assert layouts.made == 1


async def test_a_frozen_maker_is_not_waited_for(
    hand: Hand, own_world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The layout is made in memory then."""
    monkeypatch.setattr("reckoner.workers.runtime.layouts.LOCK_TIMEOUT_S", 0.1)
    generation = await hand.adopt(own_world)
    model = await hand.runtime.model(generation.record.model)
    waiting, layouts = with_layouts(hand, tmp_path)
    _, check = waiting._models.get(model.id)
    assert check is not None
    file = layouts.files.begin(layouts.files.name(model.id, check.opened, 0, 40))
    assert file is not None
    with file:
        found = await waiting.layout(model, 0, 40, "click")
    assert found.check is None
    assert found.candidates.order.size == 40


@pytest.mark.parametrize("trouble", ["begin", "publish"])
async def test_a_layout_that_cannot_be_written_is_made_in_memory(
    hand: Hand, own_world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trouble: str
) -> None:
    """As on a full disk, or in a home that is read-only."""

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(LayoutFiles, trouble, fail)
    generation = await hand.adopt(own_world)
    model = await hand.runtime.model(generation.record.model)
    made, layouts = with_layouts(hand, tmp_path)
    found = await made.layout(model, 0, 40, "click")
    assert (found.check, layouts.made) == (None, 1)
    assert await made.layout(model, 0, 40, "click") is found


async def test_a_worker_keeps_the_layouts_of_few_models_on_disk(hand: Hand, own_world: World, tmp_path: Path) -> None:
    """Those of the models that it used last; layouts of a deleted model go with it."""
    await hand.adopt(own_world)
    made, layouts = with_layouts(hand, tmp_path)
    for number in range(MODELS + 1):
        model = await made.model(own_world.generations[number].record.model)
        await made.layout(model, 0, 40, "batch")
        await made.layout(model, 0, 20, "click")
    used = [generation.record.model for generation in own_world.generations[1:]]
    found = names(tmp_path)
    assert {name.split(".")[0] for name in found} == set(used)
    assert len(found) == 2 * MODELS
    own_world.store.delete("models", used[0])
    await made.remove_unused_layouts()
    assert {name.split(".")[0] for name in names(tmp_path)} == {used[1]}
    assert [model.id for model in layouts.models] == [used[1]]


@pytest.mark.parametrize("given_up", [False, True])
async def test_a_crash_or_a_job_that_was_given_up_removes_the_layouts_of_its_model(
    hand: Hand, own_world: World, tmp_path: Path, given_up: bool
) -> None:
    """A damaged layout may be the cause; other models keep theirs, and all do if workers were only killed."""
    generation = await hand.adopt(own_world)
    made, layouts = with_layouts(hand, tmp_path)
    models = [await made.model(own_world.generations[number].record.model) for number in range(2)]
    for model in models:
        await made.layout(model, 0, 40, "batch")
    spec = UserSpec("Ada", generation.id)
    for deaths in range(3):
        await made.invalidate_after_deaths(deaths, spec)
    assert len(names(tmp_path)) == 2
    if given_up:
        await made.invalidate_given_up("a job", spec)
    else:
        # A mark without a lock is that of a dead process.
        mark = VerificationCache(tmp_path / "verified").mark_open(f"models.{models[0].id}")
        assert mark is not None
        os.close(mark.descriptor)
        await made.invalidate_after_deaths(1, spec)
    assert [name.split(".")[0] for name in names(tmp_path)] == [models[1].id]
    model = await made.model(models[0].id)
    await made.layout(model, 0, 40, "batch")
    assert layouts.made == 3


def test_processes_that_start_at_once_make_a_layout_once(world: World, tmp_path: Path) -> None:
    """All of them have its bytes."""
    candidates, made = candidates_of(world), list[int]()

    def start(number: int) -> Layout:
        files = process(tmp_path)
        while (found := files.open_or_begin("a.v.0-40")) is None:
            pass
        if isinstance(found, Layout):
            return found
        with found:
            made.append(number)
            layout = files.publish(found, "a.v.0-40", candidates)
        assert layout is not None
        return layout

    with ThreadPoolExecutor(8) as threads:
        layouts = list(threads.map(start, range(8)))
    assert len(made) == 1
    assert all(same_bytes(layout.candidates, candidates) for layout in layouts)
    assert names(tmp_path) == ["a.v.0-40"]
