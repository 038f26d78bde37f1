"""Studies on S3: what goes up comes down elsewhere, whatever died in between, and wrong addresses are one line."""

from __future__ import annotations

import shutil
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rsopt.cli import command
from rsopt.core.leg_files import rung_folder
from rsopt.core.variant import Architecture
from rsopt.errors import InfrastructureError
from rsopt.latency.ledger import Latency, Ledger
from search import export, front, run
from search.storage.layout import JOURNAL_FILE, LEDGER_FILE, STUDY_FILE
from search.storage.location import checked_storage, working_folder
from search.storage.open import open_store
from search.storage.s3_client import S3Client
from search.storage.s3_store import S3Store
from search.storage.store import Store
from search.study.settings import Settings, StudyMetadata, load_study, save_study
from tests.support.latencies import CONTEXT, FULL, HALF, latency, never_measured
from tests.support.local_s3 import LocalS3, local_s3
from tests.support.simulated_search import keys, make_space, measure, open_search, run_legs

Node = Callable[[str], S3Store]


@pytest.fixture(scope="module")
def server() -> Iterator[LocalS3]:
    with local_s3() as s3:
        yield s3


@pytest.fixture
def s3(server: LocalS3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LocalS3:
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("RSOPT_CACHE", str(tmp_path / "cache"))
    server.make_bucket("bucket")
    return server


@pytest.fixture
def storage() -> str:
    """A place of this test's own."""
    return f"s3://bucket/{uuid.uuid4().hex}"


@pytest.fixture
def node(s3: LocalS3, storage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Node:
    """A study as a node with a cache of its own sees it."""

    def on(name: str) -> S3Store:
        monkeypatch.setenv("RSOPT_CACHE", str(tmp_path / name))
        mirror = S3Store(storage, "study")
        mirror.folder.mkdir(parents=True, exist_ok=True)
        return mirror

    return on


def begin(mirror: S3Store, journal: bytes | None = None) -> None:
    """A study as a driver leaves it."""
    (mirror.folder / STUDY_FILE).write_text("{}")
    (mirror.folder / "space.yaml").write_text("name: s")
    mirror.push()
    if journal is not None:
        (mirror.folder / JOURNAL_FILE).write_bytes(journal)
        mirror.push_journal()


def write_rung(mirror: S3Store, names: tuple[str, ...] = ("state.safetensors", "captions.json", "measurement.json")) -> Path:
    folder = rung_folder(mirror.folder, 3, 0.5)
    folder.mkdir(parents=True)
    for name in names:
        (folder / name).write_bytes(name.encode() * 3)
    return folder


def test_a_study_comes_down_on_another_node_without_its_checkpoints_which_come_when_asked_for(node: Node) -> None:
    a = node("a")
    begin(a, b"1\n")
    files = write_rung(a)
    a.push_leg(3, 0.5)
    b = node("b")
    b.pull()
    assert {p.name for p in b.folder.iterdir() if p.suffix != ".lock"} == {STUDY_FILE, "space.yaml", JOURNAL_FILE, "candidates"}
    there = rung_folder(b.folder, 3, 0.5)
    assert {p.name for p in there.iterdir()} == {"captions.json", "measurement.json"}
    b.pull_leg(3, 0.5)
    assert {p.name: p.read_bytes() for p in there.iterdir()} == {p.name: p.read_bytes() for p in files.iterdir()}
    b.pull_leg(4, 0.5)
    assert not rung_folder(b.folder, 4, 0.5).exists()


def test_a_leg_that_was_not_uploaded_to_its_end_is_not_there(node: Node) -> None:
    a = node("a")
    begin(a)
    write_rung(a, ("state.safetensors", "captions.json"))
    a.push_leg(3, 0.5)
    b = node("b")
    b.pull()
    b.pull_leg(3, 0.5)
    assert not rung_folder(b.folder, 3, 0.5).exists()


def test_a_leg_that_is_there_is_not_overwritten(node: Node) -> None:
    a = node("a")
    begin(a)
    write_rung(a)
    a.push_leg(3, 0.5)
    b = node("b")
    (write_rung(b) / "measurement.json").write_text("another's")
    b.push_leg(3, 0.5)
    c = node("c")
    c.pull_leg(3, 0.5)
    assert (rung_folder(c.folder, 3, 0.5) / "measurement.json").read_text() == "measurement.json" * 3


@pytest.mark.parametrize(
    ("here", "there", "kept"),
    [
        (b"1\n2\n", b"1\n", b"1\n2\n"),  # the driver died before the upload
        (b"1\n2", b"1\n", b"1\n2"),  # torn: mended by whoever opens it
        (b"1\n", b"1\n2\n", b"1\n2\n"),  # another node went on
        (b"1\n2", b"1\n3\n", b"1\n3\n"),
        (b"", b"1\n", b"1\n"),
    ],
)
def test_the_journal_that_knows_more_is_taken_up(node: Node, here: bytes, there: bytes, kept: bytes) -> None:
    begin(node("a"), there)
    b = node("b")
    (b.folder / JOURNAL_FILE).write_bytes(here)
    b.pull()
    assert (b.folder / JOURNAL_FILE).read_bytes() == kept
    b.push_journal()
    c = node("c")
    c.pull()
    assert (c.folder / JOURNAL_FILE).read_bytes() == kept


def test_a_second_driver_is_found_out_before_it_hands_out_a_leg(node: Node, tmp_path: Path) -> None:
    a = node("a")
    begin(a)
    space = make_space(tmp_path / "space")
    one = open_search(a.folder.parent, space, keep=a.push_journal)
    one.ask()
    b = node("b")
    b.pull()
    other = open_search(b.folder.parent, space, keep=b.push_journal)
    with pytest.raises(InfrastructureError, match="another driver writes the study in s3://bucket/"):
        one.tell(one.in_flight[0], measure(one.in_flight[0]))
    with pytest.raises(InfrastructureError, match="another driver"):
        one.ask()
    assert [leg.number for leg in other.orphans] == [0]  # and it is taken up by the other
    run_legs(other)
    assert other.done


def test_a_search_goes_on_elsewhere_as_if_nothing_had_happened(node: Node, tmp_path: Path) -> None:
    space = make_space(tmp_path / "space")
    whole = open_search(tmp_path / "whole", space)
    run_legs(whole)
    began, handed = False, []
    for number in range(40):  # each session on a node of its own, which nobody hears of again
        mirror = node(f"node-{number}")
        mirror.pull()
        if not began:
            (mirror.folder / STUDY_FILE).write_text("{}")
            mirror.push()
            began = True
        session = open_search(mirror.folder.parent, space, keep=mirror.push_journal)
        handed += run_legs(session, legs=3)
        session.ask()
        session.close()
        if session.done:
            break
    assert session.done and keys(session.history) == keys(whole.history)
    assert len({(leg.number, leg.stop) for leg in handed}) == len(handed)


def test_latencies_reach_every_node_in_one_order_and_on_one_scale(node: Node) -> None:
    begin(node("a"))

    def ledger(name: str) -> Ledger:
        mirror = node(name)
        return Ledger(mirror.folder / LEDGER_FILE, exchange=mirror.sync_ledger)

    # Both measure before they hear of each other, the second with a slower reference.
    a, b = ledger("a"), ledger("b")

    def on_b() -> Latency:
        a.get_or_measure(CONTEXT, FULL, lambda: latency(100, 50))
        return latency(96, 60)

    found, new = b.get_or_measure(CONTEXT, HALF, on_b)
    usual_ms = 52.5  # lower quartile of 50 and 60
    assert new and found.latency_ms == pytest.approx(1.6 * usual_ms)
    assert b.get_or_measure(CONTEXT, FULL, never_measured)[0].latency_ms == pytest.approx(2 * usual_ms)
    assert a.get_or_measure(CONTEXT, HALF, never_measured)[0].latency_ms == pytest.approx(1.6 * usual_ms)
    assert a.path.read_bytes() == b.path.read_bytes()
    c = node("c")
    c.pull()
    assert (c.folder / LEDGER_FILE).read_bytes() == a.path.read_bytes()


def test_a_given_ledger_keeps_its_order(node: Node, tmp_path: Path) -> None:
    a = node("a")
    begin(a)
    ledger = Ledger(a.folder / LEDGER_FILE)
    for depth in range(1, 6):
        ledger.get_or_measure(CONTEXT, Architecture(4, 6, depth, cross_layers=3), lambda: latency(10.0 * depth))  # noqa: B023
    before = ledger.path.read_bytes()
    a.push()
    b = node("b")
    b.pull()
    assert (b.folder / LEDGER_FILE).read_bytes() == before


def test_a_server_that_is_away_for_a_while_is_waited_for_and_then_not(node: Node, s3: LocalS3) -> None:
    objects = S3Client("s3://bucket/away", patience_s=20.0)
    objects.write("x", b"1")
    s3.stop()
    back = threading.Timer(1.0, s3.start)
    back.start()
    objects.write("x", b"2")
    back.join()
    assert objects.read("x") == b"2"
    s3.stop()
    try:
        begun = time.monotonic()
        with pytest.raises(InfrastructureError, match="s3://bucket/away: AWS Error NETWORK_CONNECTION"):
            S3Client("s3://bucket/away", patience_s=1.0).write("x", b"3")
        assert time.monotonic() - begun < 10
    finally:
        s3.start()
    assert objects.read("x") == b"2"


def test_what_is_refused_is_not_asked_again(s3: LocalS3) -> None:
    begun = time.monotonic()
    with pytest.raises(InfrastructureError, match="NO_SUCH_BUCKET"):
        S3Client("s3://no-bucket").write("x", b"1")
    assert time.monotonic() - begun < 10


def refused(main, argv: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """The one line that a command ends with."""
    assert command(main, argv) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("error: ") and err.count("\n") == 1
    return err


@pytest.mark.parametrize("main", [run.main, front.main, export.main])
def test_a_bucket_that_is_not_there_is_one_line_and_nothing_is_written(
    main, s3: LocalS3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    options = {run.main: ["--space", "pruning"], export.main: ["--out", "x"]}.get(main, [])
    argv = ["--name", "s", "--storage", "s3://no-bucket/x", *options]
    assert "bucket 'no-bucket' does not exist" in refused(main, argv, capsys)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    assert "cannot be reached: AWS Error NETWORK_CONNECTION" in refused(main, argv, capsys)
    assert not (tmp_path / "cache").exists() and not any((tmp_path / "here").iterdir())


def test_a_study_that_is_not_in_the_bucket_names_those_that_are(node: Node, storage: str, capsys) -> None:
    begin(node("a"))
    said = refused(front.main, ["--name", "other", "--storage", f"{storage}/"], capsys)
    assert said == f"error: no study 'other' in {storage}; there are: study\n"


def test_a_working_copy_without_its_study_is_never_overwritten(node: Node, storage: str, capsys) -> None:
    a = node("a")
    (a.folder / JOURNAL_FILE).write_text("1\n")
    argv = ["--space", "pruning", "--name", "study", "--storage", storage]
    assert "holds a working copy" in refused(run.main, argv, capsys)


def test_the_same_bucket_of_two_servers_has_two_working_copies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://one:1")
    one = working_folder("s3://bucket/x")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://two:1")
    assert one.parts[-3:] == ("one_1", "bucket", "x") and working_folder("s3://bucket/x") != one


def test_a_folder_needs_no_carrying(tmp_path: Path) -> None:
    storage = checked_storage(str(tmp_path))
    store = open_store(storage, "s")
    assert type(store) is Store and store.folder == tmp_path / "s"
    assert checked_storage("s3://bucket//a/b/") == "s3://bucket/a/b"


def test_a_study_copied_from_s3_into_a_folder_is_one_of_that_folder(s3: LocalS3, tmp_path: Path) -> None:
    settings = Settings("s", "pruning", "tiny", None, 6, "tpe", 0, 1, None, "sqlite:///x", "s3://bucket/x", None, False)
    save_study(settings, StudyMetadata(("cider",), {}, "", 0, False, {}))
    assert load_study(settings.folder)[0] == settings
    copied = shutil.copytree(settings.folder, tmp_path / "runs" / "copied")
    settings, _ = load_study(copied)
    assert settings.folder == copied and settings.storage == str(tmp_path / "runs")
