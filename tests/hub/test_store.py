"""What lies here: files, receipts, damage, and that looking never asks the network."""

from __future__ import annotations

import io
import json
import socket
import threading
from dataclasses import replace
from pathlib import Path
from zipfile import ZipFile

import pytest

from d2m_cli.errors import DownloadError, MissingExtraError, MissingWeightsError, OutputError, UsageError
from d2m_cli.ground.weights_path import weights_dir
from d2m_cli.hub import catalogue, store
from d2m_cli.hub.catalogue import CATALOGUE, Download, HubModel, Weights, find
from d2m_cli.hub.inventory import inventory
from d2m_cli.hub.pull import Tools, pull, pull_all
from tests.hub.conftest import TOOLS, Told
from tests.hub.loopback import Loopback, sha256

CONTENT = b"weights" * 5000
PATH = "/files/thing-1.pth"


@pytest.fixture
def thing(server: Loopback, monkeypatch: pytest.MonkeyPatch) -> Weights:
    """An entry of the catalogue whose file the loopback server has."""
    server.files[PATH] = CONTENT
    entry = Weights("thing", "tests", Download(server.url + PATH, sha256(CONTENT)[:8]), "MIT", "do as you like.")
    monkeypatch.setitem(CATALOGUE, "thing", entry)
    return entry


@pytest.fixture
def nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def test_from_nothing_to_here(server: Loopback, home: Path, thing: Weights, told: Told) -> None:
    with pytest.raises(MissingWeightsError) as caught:
        store.locate("thing")
    assert str(caught.value) == "thing: is not on this machine. Fetch it with 'd2m weights pull thing'"
    assert store.locate_if_here("thing") is None
    path = pull(thing, told, TOOLS)
    assert path == home / "weights" / "thing" / "thing-1.pth" == store.locate("thing")
    assert path.read_bytes() == CONTENT
    assert told.lines[0] == f"thing: {thing.origin}, licence: MIT; do as you like."
    checked = store.check(thing)
    assert (checked.files, checked.size, checked.problems) == (1, len(CONTENT), ())
    pull(thing, told, TOOLS)
    assert len(server.gets(PATH)) == 1


def test_damage_is_told_and_mended(server: Loopback, home: Path, thing: Weights, told: Told) -> None:
    path = pull(thing, told, TOOLS)
    path.write_bytes(CONTENT[:-1] + b"?")
    assert store.locate("thing") == path, "sizes alone can't tell"
    (problem,) = store.check(thing).problems
    assert problem.startswith(f"{path}: is damaged, its sha256 is {sha256(CONTENT[:-1] + b'?')} and not ")
    assert problem.endswith("; run 'd2m weights pull thing' to fetch it again")
    assert pull(thing, told, TOOLS).read_bytes() == CONTENT
    path.write_bytes(CONTENT[:-1])
    with pytest.raises(MissingWeightsError, match=r"thing: is damaged: .*thing-1\.pth has 34999 bytes, not 35000"):
        store.locate("thing")
    pull(thing, told, TOOLS)
    path.unlink()
    with pytest.raises(MissingWeightsError, match="is not on this machine"):
        store.locate("thing")
    assert pull(thing, told, TOOLS).read_bytes() == CONTENT
    assert store.check(thing).problems == ()


def test_weights_that_are_no_longer_the_published_ones(
    server: Loopback, home: Path, thing: Weights, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    pull(thing, told, TOOLS)
    newer = b"newer" * 5000
    source = Download(thing.source.url, sha256(newer))
    monkeypatch.setitem(CATALOGUE, "thing", Weights("thing", "tests", source, "MIT"))
    server.files[PATH] = newer
    assert "is not the published file" in store.check(find("thing")).problems[0]
    assert pull(find("thing"), told, TOOLS).read_bytes() == newer


def test_a_broken_receipt_is_named(server: Loopback, home: Path, thing: Weights, told: Told) -> None:
    pull(thing, told, TOOLS)
    for content in ("{", "[]", '{"name": "thing"}', '{"files": [{"path": 1}]}'):
        store.receipt_path(thing).write_text(content)
        with pytest.raises(MissingWeightsError, match=r"thing\.json: can't be read .*remove it"):
            store.locate("thing")
    row = next(row for row in inventory() if row.name == "thing")
    assert (row.state, row.path) == ("damaged", None)


def test_two_at_once_fetch_once(server: Loopback, home: Path, thing: Weights, told: Told) -> None:
    server.todo[PATH] = ["hang"]
    first, second = Told(), Told()
    paths: list[Path] = []
    threads = [
        threading.Thread(target=lambda told=told: paths.append(pull(thing, told, TOOLS))) for told in (first, second)
    ]
    threads[0].start()
    assert server.hanging.wait(30)
    threads[1].start()
    while "another process is fetching it" not in second.text:
        assert threads[1].is_alive()
    server.stopped.set()
    for thread in threads:
        thread.join(30)
    assert paths == [store.locate("thing")] * 2
    # One connection that broke off, and one for the rest.
    assert len(server.gets(PATH)) == 2
    assert "is here and whole" in second.text


def test_what_could_not_be_fetched_is_not_here(server: Loopback, home: Path, thing: Weights, told: Told) -> None:
    server.always[PATH] = "wrong"
    (done,) = pull_all(["thing"], told, TOOLS)
    assert isinstance(done.error, DownloadError)
    with pytest.raises(MissingWeightsError, match="is not on this machine"):
        store.locate("thing")
    assert not store.receipt_path(thing).exists()


def test_a_home_that_can_not_be_written(thing: Weights, home: Path, told: Told) -> None:
    home.write_text("a file where the folder should be")
    with pytest.raises(OutputError, match=r"set D2M_HOME to a folder elsewhere"):
        pull(thing, told, TOOLS)
    assert store.look(thing).state == "absent"


def test_looking_never_asks_the_network(home: Path, nowhere: None) -> None:
    for name in [*CATALOGUE, "musicgen:someone/tiny", "riffusion", "audiocraft:small"]:
        assert store.look(find(name)).state == "absent"
        with pytest.raises(MissingWeightsError, match=r"Fetch it with 'd2m weights pull \S+'"):
            store.locate(name)
    assert {row.state for row in inventory()} == {"ships", "absent"}
    assert all(not checked.problems for checked in store.check_all())
    assert not home.exists()


def test_auto_never_asks_the_network(home: Path, nowhere: None) -> None:
    from d2m_cli.backbones.registry import choose

    assert choose("auto").folder.is_relative_to(weights_dir())


def test_what_ships_is_whole_and_can_be_named(home: Path, told: Told) -> None:
    ships = store.shipped()
    assert {"movenet-thunder", "embedded-unet", "listener"} <= set(ships)
    assert store.locate("movenet-thunder") == ships["movenet-thunder"].path
    (done,) = pull_all(["listener"], told, TOOLS)
    assert done.path == ships["listener"].path
    assert told.lines == ["listener: ships with d2m"]


def test_damage_to_what_ships(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "weights"
    folder.mkdir()
    one = {"name": "net", "purpose": "p", "origin": "o", "licence": "MIT", "file": "net.onnx", "sha256": sha256(b"net")}
    (folder / "manifest.json").write_text(json.dumps({"weights": [one]}))
    monkeypatch.setattr(store, "weights_dir", lambda: folder)
    (checked,) = store.check_all(["net"])
    assert checked.problems == (f"{folder / 'net.onnx'}: is missing; install d2m again",)
    with pytest.raises(MissingWeightsError, match="install it again"):
        store.locate("net")
    (folder / "net.onnx").write_bytes(b"nut")
    (checked,) = store.check_all(["net"])
    assert (
        f"is damaged, its sha256 is {sha256(b'nut')} and not {sha256(b'net')}; install d2m again" in checked.problems[0]
    )
    (folder / "net.onnx").write_bytes(b"net")
    assert store.check_all()[0].problems == ()
    (folder / "manifest.json").write_text("{}")
    with pytest.raises(MissingWeightsError, match=r"manifest\.json: can't be read"):
        store.shipped()


def test_names_in_place_of_paths(server: Loopback, home: Path, thing: Weights, told: Told, tmp_path: Path) -> None:
    assert store.named_path(tmp_path / "own.pth") == tmp_path / "own.pth"
    with pytest.raises(MissingWeightsError, match="d2m weights pull thing"):
        store.named_path(Path("thing"))
    path = pull(thing, told, TOOLS)
    assert store.named_path(Path("thing")) == path


class Exports:
    """In place of mmpose, which can't be had everywhere: writes a file, or says that there is no mmpose."""

    def __init__(self, installed: bool = True) -> None:
        self.installed = installed
        self.calls: list[tuple[str, str]] = []

    def __call__(self, config: str, checkpoint: Path, out: Path) -> str:
        assert checkpoint.read_bytes() == CONTENT
        self.calls.append((config, out.name))
        if not self.installed:
            raise MissingExtraError(f"mmpose is not installed; {catalogue.MMPOSE_INSTALL}")
        out.write_bytes(b"onnx")
        return "input 192x256"


@pytest.fixture
def hrnet(thing: Weights, monkeypatch: pytest.MonkeyPatch) -> Weights:
    entry = Weights("hrnet-thing", "poses", thing.source, "Apache-2.0", mmpose_config="td-hm_hrnet-thing")
    monkeypatch.setitem(CATALOGUE, "hrnet-thing", entry)
    return entry


def test_hrnet_is_fetched_and_exported_in_one_step(server: Loopback, home: Path, hrnet: Weights, told: Told) -> None:
    exports = Exports()
    path = pull(hrnet, told, Tools({}, exports))
    assert exports.calls == [("td-hm_hrnet-thing", "hrnet-thing.onnx")]
    assert told.lines[-1] == "hrnet-thing: input 192x256"
    assert path == home / "weights" / "hrnet-thing" / "hrnet-thing.onnx" == store.locate("hrnet-thing")
    assert store.check(hrnet).files == 2
    path.write_bytes(b"0nnx")
    assert "hrnet-thing.onnx: is damaged" in store.check(hrnet).problems[0]
    assert pull(hrnet, told, Tools({}, exports)).read_bytes() == b"onnx"


def test_an_archive_leaves_its_network_alone(
    server: Loopback, home: Path, thing: Weights, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    def packed(*names: str) -> bytes:
        archive = io.BytesIO()
        with ZipFile(archive, "w") as made:
            for name in names:
                made.writestr(name, b"onnx of " + name.encode())
        return archive.getvalue()

    server.files["/net.zip"] = packed("20230504/rtm/end2end.onnx", "20230504/rtm/detail.json")
    entry = Weights("rtmpose-x", "poses", Download(f"{server.url}/net.zip"), "Apache-2.0", member="end2end.onnx")
    monkeypatch.setitem(CATALOGUE, "rtmpose-x", entry)
    looked: list[bytes] = []

    def opens(path: Path) -> None:
        looked.append(path.read_bytes())

    path = pull(entry, told, Tools({"rtmpose-x": opens}, Exports()))
    assert path == home / "weights" / "rtmpose-x" / "rtmpose-x.onnx" == store.locate("rtmpose-x")
    assert path.read_bytes() == b"onnx of 20230504/rtm/end2end.onnx"
    assert looked == [server.files["/net.zip"]]
    assert [one.name for one in path.parent.iterdir()] == [path.name]
    # The sum of what came first is held from then on.
    assert store.check(entry).problems == ()
    path.write_bytes(b"onnx of 20230504/rtm/end2end.0nnx")
    assert "is damaged" in store.check(entry).problems[0]
    server.files["/net.zip"] = packed("a/end2end.onnx", "b/end2end.onnx")
    with pytest.raises(DownloadError, match=r"holds 2 files .end2end\.onnx"):
        pull(entry, told, Tools({"rtmpose-x": opens}, Exports()))


def test_an_hrnet_that_others_made_ready_is_taken_where_it_can_be_read(
    server: Loopback, home: Path, hrnet: Weights, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    ready = replace(hrnet, ready=HubModel("someone/hrnet", (("HRNet.onnx",),)))
    monkeypatch.setitem(CATALOGUE, "hrnet-thing", ready)
    exports = Exports()

    def refuses(path: Path) -> None:
        raise UsageError(f"{path.name}: does not tell")

    # There is none; then there is one that does not tell; then one that does.
    assert pull(ready, told, Tools({"hrnet-thing": refuses}, exports)).read_bytes() == b"onnx"
    assert "taking the checkpoint" in told.text
    assert "no such model" in told.text
    server.add_repo("someone/hrnet", {"HRNet.onnx": b"ready", "README.md": b"# card"})
    store.locate("hrnet-thing").unlink()
    assert pull(ready, told, Tools({"hrnet-thing": refuses}, exports)).read_bytes() == b"onnx"
    assert "HRNet.onnx: does not tell" in told.text
    store.locate("hrnet-thing").unlink()
    count = len(exports.calls)
    path = pull(ready, told, Tools({"hrnet-thing": lambda path: None}, exports))
    assert path.read_bytes() == b"ready"
    assert path == store.locate("hrnet-thing")
    assert len(exports.calls) == count
    receipt = store.read_receipt(ready)
    assert receipt is not None
    assert (receipt.origin, receipt.licence) == ("someone/hrnet", "see https://huggingface.co/someone/hrnet")
    assert store.check(ready).problems == ()


def test_hrnet_without_mmpose_is_kept_until_it_is_there(
    server: Loopback, home: Path, hrnet: Weights, told: Told
) -> None:
    with pytest.raises(
        MissingExtraError, match=r"thing-1\.pth, but mmpose.*pip install 'd2m\[mmpose\]'.*pull hrnet-thing"
    ):
        pull(hrnet, told, Tools({}, Exports(installed=False)))
    assert store.look(hrnet).state == "not exported"
    with pytest.raises(MissingWeightsError, match=r"not turned into ONNX.*pip install.*'d2m weights pull hrnet-thing'"):
        store.locate("hrnet-thing")
    server.seen.clear()
    assert pull(hrnet, told, Tools({}, Exports())).read_bytes() == b"onnx"
    assert server.seen == []


def test_without_a_checksum_what_opens_it_is_asked(
    server: Loopback, home: Path, thing: Weights, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[bytes] = []
    plain = Weights("thing", "tests", Download(thing.origin), "MIT")
    monkeypatch.setitem(CATALOGUE, "thing", plain)
    tools = Tools({"thing": lambda path: opened.append(path.read_bytes())}, Exports())
    assert pull(plain, told, tools).read_bytes() == CONTENT
    assert opened == [CONTENT]
    assert told.lines[-1] == "thing-1.pth: no checksum is published; it holds what it should"


def test_the_catalogue_is_found_by_its_slug(home: Path) -> None:
    home.joinpath("weights").mkdir(parents=True)
    stranger = catalogue.find("musicgen:someone/tiny")
    store.receipt_path(stranger).write_text(
        json.dumps({"name": stranger.name, "origin": "someone/tiny", "licence": "", "revision": "", "folder": "",
                    "result": ".", "files": []})
    )  # fmt: skip
    assert store.known_entries()[-1] == stranger
    (home / "weights" / "other.json").write_text('{"name": "theremin"}')
    with pytest.raises(MissingWeightsError, match=r"other\.json: is no receipt of d2m"):
        store.known_entries()
