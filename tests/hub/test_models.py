"""Hub models: what is taken of them, and a hub that cuts, lies and refuses."""

from __future__ import annotations

import glob
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from d2m_cli.errors import DownloadError, MissingWeightsError, OutputError, UsageError
from d2m_cli.hub import catalogue, models, store
from d2m_cli.hub.catalogue import HubModel, find
from d2m_cli.hub.models import HubFile, pick
from d2m_cli.hub.pull import plan, pull, pull_all
from tests.hub.conftest import TOOLS, Told, hearing_interrupts
from tests.hub.loopback import COMMIT, Loopback, git_sum, sha256
from tests.waiting import PATIENCE

REPO = "someone/tiny"
SPEC = f"musicgen:{REPO}"
WEIGHTS = bytes(range(256)) * 1000
FILES = {
    "README.md": b"# a model",
    "config.json": b'{"a": 1}',
    "generation_config.json": b"{}",
    "model.safetensors": WEIGHTS,
    "pytorch_model.bin": b"the same again",
    "state_dict.bin": b"for audiocraft",
    "compression_state_dict.bin": b"its codec",
    "tokenizer.json": b'{"t": 5}',
    "spiece.model": b"pieces",
    "huge.ckpt": b"c" * 1000,
}
TAKEN = {"config.json", "generation_config.json", "model.safetensors", "tokenizer.json", "spiece.model"}


def resolved(name: str, revision: str = COMMIT) -> str:
    return f"/{REPO}/resolve/{revision}/{name}"


@pytest.fixture
def hub(server: Loopback) -> Loopback:
    server.add_repo(REPO, FILES)
    return server


def fetched(hub: Loopback) -> list[str]:
    return sorted(one.path.rpartition("/")[2] for one in hub.gets() if "/resolve/" in one.path)


def blob(home: Path, name: str) -> Path:
    content = FILES[name]
    digest = git_sum(content) if name.endswith(".json") else sha256(content)
    return home.parent / "cache" / f"models--{REPO.replace('/', '--')}" / "blobs" / digest


NEEDS = HubModel("x/y", (("config.json",), ("model.safetensors", "pytorch_model.bin")), ("tok*.json",))


@pytest.mark.parametrize(
    ("names", "taken", "lacking"),
    [
        (["config.json", "model.safetensors", "pytorch_model.bin"], ["config.json", "model.safetensors"], []),
        (["config.json", "pytorch_model.bin", "tok.json"], ["config.json", "pytorch_model.bin", "tok.json"], []),
        (
            ["config.json", "model.safetensors.index.json"]
            + [f"model-0000{i}-of-00002.safetensors" for i in (1, 2)]
            + ["model.safetensors.index.fp32.json", "model-00001-of-00002.bin"],
            ["config.json", *(f"model-0000{i}-of-00002.safetensors" for i in (1, 2)), "model.safetensors.index.json"],
            [],
        ),
        # A piece is missing, so the other format is taken; an index alone is nothing.
        (
            ["config.json", "model.safetensors.index.json", "model-00001-of-00002.safetensors", "pytorch_model.bin"],
            ["config.json", "pytorch_model.bin"],
            [],
        ),
        (
            ["config.json", "model.safetensors.index.json", "model-00002-of-00002.safetensors"],
            ["config.json"],
            ["model.safetensors or pytorch_model.bin"],
        ),
        (["model.safetensors.index.json"], [], ["config.json", "model.safetensors or pytorch_model.bin"]),
        ([], [], ["config.json", "model.safetensors or pytorch_model.bin"]),
    ],
)
def test_which_files_are_taken(names: list[str], taken: list[str], lacking: list[str]) -> None:
    assert pick(names, NEEDS) == (sorted(taken), lacking)


PUBLISHED = {
    # As their pages on the hub listed them.
    "riffusion": (
        "model_index.json riffusion-model-v1.ckpt unet_traced.pt seed_images/og_beat.png "
        "unet/config.json unet/diffusion_pytorch_model.bin vae/config.json vae/diffusion_pytorch_model.bin "
        "text_encoder/config.json text_encoder/pytorch_model.bin scheduler/scheduler_config.json tokenizer/vocab.json "
        "tokenizer/merges.txt tokenizer/tokenizer_config.json tokenizer/special_tokens_map.json "
        "safety_checker/pytorch_model.bin feature_extractor/preprocessor_config.json README.md",
        "model_index.json unet/config.json unet/diffusion_pytorch_model.bin vae/config.json "
        "vae/diffusion_pytorch_model.bin text_encoder/config.json text_encoder/pytorch_model.bin "
        "scheduler/scheduler_config.json tokenizer/vocab.json tokenizer/merges.txt tokenizer/tokenizer_config.json "
        "tokenizer/special_tokens_map.json",
    ),
    "musicgen-large": (
        "README.md compression_state_dict.bin config.json generation_config.json preprocessor_config.json "
        "pytorch_model-00001-of-00002.bin pytorch_model-00002-of-00002.bin pytorch_model.bin.index.json "
        "special_tokens_map.json state_dict.bin tokenizer.json tokenizer_config.json",
        "config.json generation_config.json preprocessor_config.json pytorch_model-00001-of-00002.bin "
        "pytorch_model-00002-of-00002.bin pytorch_model.bin.index.json special_tokens_map.json tokenizer.json "
        "tokenizer_config.json",
    ),
    "musicgen-small-audiocraft": (
        "README.md compression_state_dict.bin config.json model.safetensors pytorch_model.bin state_dict.bin",
        "compression_state_dict.bin state_dict.bin",
    ),
    "clap": (
        ".gitattributes README.md config.json merges.txt preprocessor_config.json pytorch_model.bin "
        "special_tokens_map.json tokenizer.json tokenizer_config.json vocab.json",
        "config.json merges.txt preprocessor_config.json pytorch_model.bin special_tokens_map.json tokenizer.json "
        "tokenizer_config.json vocab.json",
    ),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_models(name: str) -> None:
    source = find(name).source
    assert isinstance(source, HubModel)
    there, wanted = PUBLISHED[name]
    assert pick(there.split(), source) == (sorted(wanted.split()), [])


def test_files_are_known_by_size_and_sum(tmp_path: Path) -> None:
    """Sums as sha256sum and git hash-object print them."""
    path = tmp_path / "x"
    path.write_bytes(b"hello\n")
    blob = "ce013625030ba8dba906f756967f9e9ca394464a"
    sha256sum = "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03"
    for right in (HubFile("x", 6, None, blob), HubFile("x", None, sha256sum, None), HubFile("x", 6, None, None)):
        assert right.matches(path)
    for wrong in (
        HubFile("x", 6, None, blob[::-1]),
        HubFile("x", 6, sha256sum[::-1], None),
        HubFile("x", 5, None, blob),
    ):
        assert not wrong.matches(path)


def test_only_what_is_loaded_is_fetched(hub: Loopback, home: Path, told: Told) -> None:
    folder = pull(find(SPEC), told, TOOLS)
    assert folder == home.parent / "cache" / "models--someone--tiny" / "snapshots" / COMMIT
    assert {path.name for path in folder.iterdir()} == TAKEN
    assert fetched(hub) == sorted(TAKEN)
    assert (folder / "model.safetensors").read_bytes() == WEIGHTS
    assert store.locate(SPEC) == store.model_folder("musicgen", REPO) == folder
    receipt = store.read_receipt(find(SPEC))
    assert receipt is not None
    assert (receipt.revision, receipt.licence) == (COMMIT, "not known to d2m")
    assert {file.path: file.sha256 for file in receipt.files}["model.safetensors"] == sha256(WEIGHTS)
    assert "licence: not known to d2m; read https://huggingface.co/someone/tiny" in told.text


def test_the_second_time_nothing_is_fetched(hub: Loopback, home: Path, told: Told) -> None:
    first = pull(find(SPEC), told, TOOLS)
    hub.seen.clear()
    hub.always[f"/api/models/{REPO}"] = 500
    assert pull(find(SPEC), told, TOOLS) == first
    assert hub.seen == []
    assert "is here and whole" in told.text


def test_licences_are_told_before_anything_comes(hub: Loopback, home: Path, told: Told) -> None:
    with pytest.raises(DownloadError):
        pull(find("musicgen:small"), told, TOOLS)
    assert told.lines == [
        "musicgen-small: facebook/musicgen-small, licence: CC-BY-NC-4.0; no commercial use of the weights."
    ]


def test_a_cut_connection_is_taken_up(hub: Loopback, home: Path, told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 1000)
    hub.todo[resolved("model.safetensors")] = ["cut"]
    folder = pull(find(SPEC), told, TOOLS)
    assert (folder / "model.safetensors").read_bytes() == WEIGHTS
    ranges = [one.range for one in hub.gets("model.safetensors")]
    assert ranges == ["", f"bytes={len(WEIGHTS) // 2}-"]


def test_a_file_that_ends_early_is_not_used(hub: Loopback, home: Path, told: Told) -> None:
    hub.always[resolved("model.safetensors")] = "short"
    with pytest.raises(DownloadError, match="Consistency check failed"):
        pull(find(SPEC), told, TOOLS)
    with pytest.raises(MissingWeightsError, match=f"only in part.*'d2m weights pull {SPEC}'"):
        store.locate(SPEC)
    del hub.always[resolved("model.safetensors")]
    assert (pull(find(SPEC), told, TOOLS) / "model.safetensors").read_bytes() == WEIGHTS


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_wrong_bytes_of_the_right_number_are_not_kept(hub: Loopback, home: Path, told: Told, name: str) -> None:
    hub.always[resolved(name)] = "wrong"
    with pytest.raises(DownloadError, match=f"{name} of {REPO}: what {hub.url} sent is not what it lists"):
        pull(find(SPEC), told, TOOLS)
    assert not blob(home, name).exists()
    with pytest.raises(MissingWeightsError, match="only in part"):
        store.locate(SPEC)
    del hub.always[resolved(name)]
    hub.seen.clear()
    assert (pull(find(SPEC), told, TOOLS) / name).read_bytes() == FILES[name]
    assert fetched(hub) == [name]


def test_damage_in_the_cache_is_found_and_mended(hub: Loopback, home: Path, told: Told) -> None:
    folder = pull(find(SPEC), told, TOOLS)
    good = bytearray(WEIGHTS)
    good[1000] ^= 1
    blob(home, "model.safetensors").write_bytes(good)
    (problem,) = store.check(find(SPEC)).problems
    assert "model.safetensors: is damaged" in problem
    assert problem.endswith(f"run 'd2m weights pull {SPEC}' to fetch it again")
    hub.seen.clear()
    assert pull(find(SPEC), told, TOOLS) == folder
    assert fetched(hub) == ["model.safetensors"]
    assert store.check(find(SPEC)).problems == ()
    blob(home, "model.safetensors").write_bytes(WEIGHTS[:-1])
    with pytest.raises(MissingWeightsError, match=rf"has {len(WEIGHTS) - 1} bytes, not {len(WEIGHTS)}"):
        store.locate(SPEC)


def test_a_model_of_another_kind(hub: Loopback, home: Path, told: Told) -> None:
    with pytest.raises(DownloadError, match=r"no unet/config\.json.*no vae"):
        pull(find(f"riffusion:{REPO}"), told, TOOLS)
    with pytest.raises(MissingWeightsError, match="is not on this machine"):
        store.locate(f"riffusion:{REPO}")


def test_audiocraft_takes_its_own_files_of_the_same_model(
    hub: Loopback, home: Path, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    text_encoder = HubModel("else/t5", (("config.json",), ("model.safetensors",)))
    hub.add_repo("else/t5", {"config.json": b"{}", "model.safetensors": b"t5"})
    entry = catalogue.Weights("t5-base", "text encoder", text_encoder, "Apache-2.0")
    monkeypatch.setitem(catalogue.CATALOGUE, "t5-base", entry)
    folder = pull(find(f"audiocraft:{REPO}"), told, TOOLS)
    assert {path.name for path in folder.iterdir()} == {"state_dict.bin", "compression_state_dict.bin"}
    assert (store.locate("t5-base") / "model.safetensors").read_bytes() == b"t5"
    with pytest.raises(MissingWeightsError, match="not on this machine"):
        store.locate(SPEC)


@pytest.mark.parametrize(
    ("answer", "text"),
    [(404, "someone/tiny at .*404"), (500, "someone/tiny at .*500"), ("gated", "hf auth login"), (401, "401|private")],
)
def test_a_hub_that_refuses(hub: Loopback, home: Path, told: Told, answer: str | int, text: str) -> None:
    hub.always[f"/api/models/{REPO}"] = answer
    with pytest.raises(DownloadError, match=text):
        pull(find(SPEC), told, TOOLS)
    with pytest.raises(MissingWeightsError, match="is not on this machine"):
        store.locate(SPEC)


def test_a_file_that_the_hub_lists_and_has_not(hub: Loopback, home: Path, told: Told) -> None:
    del hub.files[resolved("model.safetensors")]
    with pytest.raises(DownloadError, match=r"someone/tiny at .*404"):
        pull(find(SPEC), told, TOOLS)
    with pytest.raises(MissingWeightsError, match="only in part"):
        store.locate(SPEC)


def test_no_such_model_and_no_hub(server: Loopback, home: Path, told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DownloadError, match="there is no such model, or it is private"):
        pull(find("musicgen:no/such"), told, TOOLS)
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(DownloadError, match=r"at http://127\.0\.0\.1:9: can't be fetched .*HF_ENDPOINT"):
        pull(find(SPEC), told, TOOLS)


def test_names_that_the_hub_knows_none_of(home: Path, told: Told) -> None:
    with pytest.raises(UsageError, match="no name of a hub model"):
        pull(find("musicgen:-x/y..z"), told, TOOLS)
    with pytest.raises(MissingWeightsError, match="no such folder, and no hub model can have that name"):
        store.model_folder("riffusion", "../models/mine")


def test_offline(hub: Loopback, home: Path, told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(MissingWeightsError, match=r"HF_HUB_OFFLINE or TRANSFORMERS_OFFLINE forbids it"):
        pull(find(SPEC), told, TOOLS)
    assert hub.seen == []
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    folder = pull(find(SPEC), told, TOOLS)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert pull(find(SPEC), told, TOOLS) == store.locate(SPEC) == folder


def test_no_room(hub: Loopback, home: Path, told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    from types import SimpleNamespace

    monkeypatch.setattr("shutil.disk_usage", lambda folder: SimpleNamespace(free=1000))
    with pytest.raises(OutputError, match=r"are free: free some space, or set HF_HOME"):
        pull(find(SPEC), told, TOOLS)
    assert fetched(hub) == []


def test_what_another_program_brought_is_used_where_it_is_whole(hub: Loopback, home: Path, told: Told) -> None:
    from huggingface_hub import snapshot_download

    snapshot_download(REPO, allow_patterns=["config.json", "model.safetensors"])
    with pytest.raises(MissingWeightsError, match="is not on this machine"):
        store.locate(SPEC)
    folder = Path(snapshot_download(REPO))
    assert store.locate(SPEC) == folder
    assert store.check(find(SPEC)).problems == ()
    hub.seen.clear()
    assert pull(find(SPEC), told, TOOLS) == folder
    assert hub.seen == []
    assert store.read_receipt(find(SPEC)) is not None
    # Their sums are known by their names in the cache.
    store.receipt_path(find(SPEC)).unlink()
    blob(home, "model.safetensors").write_bytes(WEIGHTS[::-1])
    assert "model.safetensors: is damaged, its sum is not" in store.check(find(SPEC)).problems[0]
    assert (pull(find(SPEC), told, TOOLS) / "model.safetensors").read_bytes() == WEIGHTS


def test_the_plan_names_files_sizes_and_sums(hub: Loopback, home: Path, told: Told) -> None:
    lines = plan(find(SPEC))
    assert f"  model.safetensors  {len(WEIGHTS)} bytes  sha256 {sha256(WEIGHTS)}" in lines
    assert f"  config.json  8 bytes  git {git_sum(FILES['config.json'])}" in lines
    assert lines[-1] == "  5 files, 0.3 MB"
    assert fetched(hub) == []
    pull(find(SPEC), told, TOOLS)
    assert plan(find(SPEC))[0].startswith(f"{SPEC}: is here, ")


def test_one_that_fails_does_not_keep_the_others(hub: Loopback, home: Path, told: Told) -> None:
    done = pull_all(["musicgen:no/such", SPEC, "movenet-thunder"], told, TOOLS)
    assert [one.error is None for one in done] == [False, True, True]
    with pytest.raises(UsageError, match="no weights are called 'theremin'"):
        pull_all([SPEC, "theremin"], told, TOOLS)


def test_leftovers_of_killed_downloads_go_when_they_are_old(hub: Loopback, home: Path, told: Told) -> None:
    blobs = blob(home, "model.safetensors").parent
    blobs.mkdir(parents=True)
    old, new = blobs / "a.1.incomplete", blobs / "b.2.incomplete"
    for path in (old, new):
        path.write_bytes(b"half")
    os.utime(old, (time.time() - 2 * models.ABANDONED_SECONDS,) * 2)
    pull(find(SPEC), told, TOOLS)
    assert (old.exists(), new.exists()) == (False, True)


@pytest.mark.parametrize(("how", "code"), [(signal.SIGKILL, -signal.SIGKILL), (signal.SIGINT, 130)])
def test_killed_half_way_and_pulled_again(
    hub: Loopback, home: Path, told: Told, how: signal.Signals, code: int
) -> None:
    """The program itself, with the settings that a user has: the environment."""
    cache = home.parent / "cache"
    settings = {"HF_ENDPOINT": hub.url, "HF_HUB_CACHE": str(cache), "HF_HUB_DISABLE_TELEMETRY": "1"}
    hub.todo[resolved("model.safetensors")] = ["hang"]
    process = subprocess.Popen(
        [sys.executable, "-m", "d2m_cli", "weights", "pull", SPEC],
        env=os.environ | settings,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=hearing_interrupts,
    )
    assert hub.hanging.wait(PATIENCE)
    deadline = time.monotonic() + 60
    # pathlib's own search breaks off where a file goes away under it.
    while not glob.glob("**/snapshots/*/config.json", root_dir=cache, recursive=True):
        assert time.monotonic() < deadline
    process.send_signal(how)
    hub.stopped.set()
    out, errors = process.communicate(timeout=60)
    assert (process.returncode, out) == (code, ""), errors
    with pytest.raises(MissingWeightsError, match=f"was broken off. Fetch it with 'd2m weights pull {SPEC}'"):
        store.locate(SPEC)
    hub.seen.clear()
    assert (pull(find(SPEC), told, TOOLS) / "model.safetensors").read_bytes() == WEIGHTS
    assert "config.json" not in fetched(hub)
    assert store.locate(SPEC).is_dir()
    assert not store.unfinished_mark(find(SPEC)).exists()
