"""Programs run as users run them: no network, and whatever folders, streams and settings they are given."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import av
import pytest

from d2m_cli.errors import UsageError
from d2m_cli.ground import surroundings

EXAMPLE = Path(__file__).parents[2] / "examples" / "videos" / "lock_112.mp4"
NOTEBOOK = "module://matplotlib_inline.backend_inline"

# Stands before the C library: what goes to any address but a local socket's is written down, and fails.
SHIM = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
static int refuse(const char *what) {
    int log = open(getenv("NETWORK_LOG"), O_WRONLY | O_APPEND | O_CREAT, 0600);
    if (write(log, what, strlen(what)) < 0) abort();
    close(log);
    errno = ENETUNREACH;
    return -1;
}
int connect(int s, const struct sockaddr *to, socklen_t n) {
    if (to->sa_family != AF_UNIX) return refuse("connect\n");
    return ((int (*)(int, const struct sockaddr *, socklen_t))dlsym(RTLD_NEXT, "connect"))(s, to, n);
}
ssize_t sendto(int s, const void *b, size_t n, int f, const struct sockaddr *to, socklen_t m) {
    if (to && to->sa_family != AF_UNIX) return refuse("sendto\n");
    return ((ssize_t (*)(int, const void *, size_t, int, const struct sockaddr *, socklen_t))
            dlsym(RTLD_NEXT, "sendto"))(s, b, n, f, to, m);
}
int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints, struct addrinfo **found) {
    refuse("getaddrinfo\n");
    return EAI_FAIL;
}
"""

# Runs several command lines in one process; Python's own sockets are watched where there is no compiler.
PROGRAM = """
import os, sys
def watch(event, arguments):
    named = event in ("socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr")
    sent = event in ("socket.connect", "socket.sendto", "socket.sendmsg")
    # Processes of one machine talk by sockets too, without any network.
    if named or (sent and arguments[0].family.name != "AF_UNIX"):
        with open(os.environ["NETWORK_LOG"], "a") as log:
            log.write(event + "\\n")
sys.addaudithook(watch)
from d2m_cli.entry import main
for words in sys.argv[1].split("|"):
    sys.argv[1:] = words.split()
    try:
        main()
    except SystemExit as ended:
        assert not ended.code, (words, ended.code)
"""


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first second of an example dance, alone in its folder."""
    path = tmp_path_factory.mktemp("clips") / "clip.mp4"
    with av.open(str(EXAMPLE)) as source, av.open(str(path), "w") as target:
        stream = source.streams.video[0]
        made = target.add_stream("libx264", rate=stream.average_rate, options={"preset": "ultrafast"})
        made.width, made.height, made.pix_fmt = stream.width, stream.height, "yuv420p"
        for number, frame in enumerate(source.decode(stream)):
            if frame.time >= 1.0:
                break
            picture = av.VideoFrame.from_ndarray(frame.to_ndarray(format="rgb24"))
            picture.pts = number
            target.mux(made.encode(picture))
        target.mux(made.encode(None))
    return path


@pytest.fixture(scope="module")
def shim(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Path of the compiled shim, or "" where there is none to be had."""
    folder = tmp_path_factory.mktemp("shim")
    compiler = shutil.which("cc")
    if sys.platform != "linux" or compiler is None:
        return ""
    (folder / "shim.c").write_text(SHIM)
    subprocess.run([compiler, "-shared", "-fPIC", "-w", "shim.c", "-o", "shim.so", "-ldl"], cwd=folder, check=True)
    return str(folder / "shim.so")


class Place:
    """An empty home, temporary folder and working folder, and the network's log."""

    def __init__(self, folder: Path, shim: str) -> None:
        self.work, self.home, self.temporary, self.log = (folder / n for n in ("work", "home", "tmp", "network"))
        for one in (self.work, self.home, self.temporary):
            one.mkdir()
        # CI switches ONNX Runtime's telemetry off as well; here only d2m may.
        unwanted = ("CI", "ORT_", "HF_", "XDG_", "NUMBA", "MPL", "D2M_HOME", "TRANSFORMERS", "PYTHONPATH")
        self.variables = {n: value for n, value in os.environ.items() if not n.startswith(unwanted)}
        self.variables |= {
            "HOME": str(self.home), "TMPDIR": str(self.temporary), "PYTHONPATH": str(Path(__file__).parents[2]),
            "NETWORK_LOG": str(self.log), "LD_PRELOAD": shim,
        }  # fmt: skip

    def run(self, script: str, *words: str, **more: str | None) -> subprocess.CompletedProcess[str]:
        """Run a script here; a variable that is None is taken away."""
        variables = {n: value for n, value in (self.variables | more).items() if value is not None}
        return subprocess.run(
            [sys.executable, "-c", script, *words],
            cwd=self.work, env=variables, capture_output=True, text=True, check=False,
        )  # fmt: skip

    def used(self) -> list[str]:
        return self.log.read_text().split() if self.log.exists() else []


@pytest.fixture
def place(tmp_path: Path, shim: str) -> Place:
    return Place(tmp_path, shim)


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_the_guards_see_a_connection(place: Place, shim: str) -> None:
    script = "import socket, sys\nsocket.socket().connect_ex(('127.0.0.1', 9))\n"
    place.run(PROGRAM.partition("from d2m_cli")[0] + script)
    assert place.used() == ["socket.connect", "connect"][: 2 if shim else 1]


@pytest.mark.skipif(sys.platform != "linux", reason="telemetry as it is on Linux")
def test_the_telemetry_that_is_switched_off_would_be_seen(place: Place) -> None:
    version = pytest.importorskip("onnxruntime").__version__
    if tuple(map(int, version.split(".")[:2])) < (1, 29):
        pytest.skip(f"onnxruntime {version} has no telemetry")
    assert place.run("import onnxruntime; onnxruntime.SessionOptions()").returncode == 0
    assert any("deviceid" in name for name in files(place.home))
    shutil.rmtree(place.home / ".cache")
    done = place.run("import d2m_cli, onnxruntime; onnxruntime.SessionOptions()", ORT_DISABLE_TELEMETRY="0")
    assert done.returncode == 0, done.stderr
    assert files(place.home) == set()


def check_no_network(place: Place, commands: list[str]) -> None:
    done = place.run(PROGRAM, "|".join(commands), MPLBACKEND=NOTEBOOK)
    assert done.returncode == 0, done.stderr
    assert place.used() == []
    # Nothing but matplotlib's list of fonts and what d2m keeps for later outside of the results and the temporary
    # folder.
    kept = (".cache/matplotlib/", ".cache/d2m/hashes/", ".cache/d2m/dances/")
    assert {name for name in files(place.home) if not name.startswith(kept)} == set()
    assert {path.name for path in place.work.iterdir()} == {"out"}
    assert not [path for path in place.temporary.iterdir() if not path.name.startswith("torchinductor")]


@pytest.mark.slow
def test_poses_and_rhythm_need_no_network(place: Place, clip: Path) -> None:
    check_no_network(place, [f"pose {clip} --out out", "rhythm out --plot --out out"])


@pytest.mark.slow
def test_music_needs_no_network(place: Place, clip: Path) -> None:
    check_no_network(place, [f"generate {clip} --genre lock --steps 1 --candidates 1 --out out"])
    assert (place.work / "out" / "clip.mp4").exists()


ASKS = "from d2m_cli.entry import main; import os, sys; sys.argv = ['d2m', *{words!r}, '--help']\ntry:\n    main()\n"
ASKS += "except SystemExit:\n    print(os.environ.get('HF_HUB_OFFLINE'), os.environ['ORT_DISABLE_TELEMETRY'])\n"


@pytest.mark.parametrize(
    ("words", "offline"),
    [(["weights", "pull"], "None"), (["-v", "weights", "pull"], "None"), (["weights", "verify"], "1"), (["eval"], "1")],
)
def test_only_pulling_weights_is_let_online(place: Place, words: list[str], offline: str) -> None:
    assert place.run(ASKS.format(words=words)).stdout.splitlines()[-1] == f"{offline} 1"


@pytest.fixture
def sealed(place: Place) -> str:
    """A copy of librosa beside which nothing can be written; and no home, but a file in its place."""
    import librosa

    copy = place.temporary / "librosa"
    shutil.copytree(Path(librosa.__file__).parent, copy, ignore=shutil.ignore_patterns("__pycache__"))
    for folder in [copy, *(path for path in copy.rglob("*") if path.is_dir())]:
        (folder / "__pycache__").touch()
    shutil.rmtree(place.home)
    place.home.touch()
    return f"{place.temporary}{os.pathsep}{place.variables['PYTHONPATH']}"


@pytest.mark.slow
def test_compiled_code_has_a_folder_where_nothing_can_be_written(place: Place, sealed: str) -> None:
    script = "import librosa.core.audio"
    assert "cannot" in place.run(script, PYTHONPATH=sealed).stderr
    script = f"import d2m_cli\n{script}\nimport os\nprint(os.environ['NUMBA_CACHE_DIR'])"
    done = place.run(script, PYTHONPATH=sealed)
    assert done.returncode == 0, done.stderr
    # A private folder, and gone with the process.
    assert Path(done.stdout.strip()).parent.parent == place.temporary
    assert {path.name for path in place.temporary.iterdir()} == {"librosa"}


def test_chosen_cache_folders_stay(place: Place, sealed: str) -> None:
    script = "import d2m_cli, os; print(os.environ['NUMBA_CACHE_DIR'], os.environ['MPLCONFIGDIR'])"
    own = str(place.work)
    assert place.run(script, PYTHONPATH=sealed, NUMBA_CACHE_DIR=own, MPLCONFIGDIR=own).stdout.split() == [own, own]


def test_nothing_is_set_where_the_home_can_be_written(place: Place) -> None:
    names = ("NUMBA_CACHE_DIR", "MPLCONFIGDIR", "XDG_CACHE_HOME")
    script = f"import d2m_cli, os; print([name for name in {names} if name in os.environ])"
    assert place.run(script).stdout.strip() == "[]"


def test_nowhere_to_write_is_said_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setattr(surroundings, "_beside_librosa", lambda: str(tmp_path / "file"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    with pytest.raises(UsageError, match="set TMPDIR"):
        surroundings.check_folders()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "made when needed"))
    surroundings.check_folders()


@pytest.mark.slow
@pytest.mark.parametrize("variables", [{"HOME": None}, {"HOME": "/dev/null"}, {"XDG_CACHE_HOME": "/dev/null"}])
def test_odd_surroundings(place: Place, clip: Path, variables: dict[str, str | None]) -> None:
    odd = {"LANG": "C", "LC_ALL": "C", "PYTHONDONTWRITEBYTECODE": "1", "TMPDIR": "/dev/null", "MPLBACKEND": NOTEBOOK}
    out = place.work / "out"
    if sys.platform == "linux":
        place.work = Path("/proc")  # to work in: not even root can write there
    done = place.run(PROGRAM, f"rhythm {clip} --plot --out {out}", **(odd | variables))
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert {"clip.rhythm.json", "clip.rhythm.png"} <= files(out)


def test_plots_are_drawn_without_pyplot(place: Place) -> None:
    """So that d2m as a library leaves the backend of the program around it alone."""
    script = (
        "import sys\nimport numpy as np\nfrom pathlib import Path\nfrom types import SimpleNamespace\n"
        "from d2m_cli.report.loss_plot import plot_losses\n"
        "epochs = [SimpleNamespace(update=i, validation_loss=0.5) for i in (1, 2, 3)]\n"
        "plot_losses(Path('loss.png'), SimpleNamespace(updates=np.arange(3), losses=1 / np.arange(1, 4), "
        "epochs=epochs), 'loss')\n"
        "print('matplotlib.pyplot' in sys.modules)\n"
    )
    done = place.run(script)
    assert done.stdout.strip() == "False", done.stderr
    assert (place.work / "loss.png").stat().st_size > 1000


def test_streams_that_are_closed_are_filled(place: Place) -> None:
    """A file that a library opens must not get the number under which others print."""
    script = (
        "import os, sys\nos.close(0); os.close(2); sys.stderr = None\n"
        "from d2m_cli.ground.surroundings import fill_closed_streams\nfill_closed_streams()\n"
        "number = os.open('result', os.O_WRONLY | os.O_CREAT)\n"
        "print('for stderr', file=sys.stderr)\nprint(number > 2)\n"
    )
    assert place.run(script).stdout == "True\n"
    assert (place.work / "result").read_bytes() == b""


@pytest.mark.slow
def test_a_command_with_stderr_closed(place: Place, clip: Path) -> None:
    script = f"exec {sys.executable} -m d2m_cli pose {clip} --out {place.work}/out 2>&-"
    done = subprocess.run(["sh", "-c", script], env=place.variables, capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert done.stdout.startswith(str(place.work / "out" / "clip.pose.npz"))
    assert len(done.stdout.splitlines()) == 1


WAITS = "from d2m_cli.ground.surroundings import settle_program\nsettle_program(['generate'])\nimport torch\n"


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="PyTorch's threads are libgomp's on Linux")
@pytest.mark.parametrize(
    ("variables", "turns"),
    [({}, 1000), ({"GOMP_SPINCOUNT": "77"}, 77), ({"OMP_WAIT_POLICY": "PASSIVE"}, 0)],
)
def test_threads_that_wait_leave_the_cores_to_others(place: Place, variables: dict[str, str], turns: int) -> None:
    unset = {"GOMP_SPINCOUNT": None, "OMP_WAIT_POLICY": None, "OMP_NUM_THREADS": None}
    # libgomp itself says what it goes by, once it is loaded.
    done = place.run(WAITS, **(unset | variables), OMP_DISPLAY_ENV="VERBOSE")
    assert f"GOMP_SPINCOUNT = '{turns}'" in done.stderr


@pytest.mark.parametrize(("variables", "threads"), [({}, 1), ({"OPENBLAS_NUM_THREADS": "2"}, 2)])
def test_numpy_has_one_thread_where_nobody_says_otherwise(
    place: Place, variables: dict[str, str], threads: int
) -> None:
    code = (
        "from d2m_cli.ground.surroundings import settle_program\nsettle_program(['generate'])\n"
        "import numpy, threadpoolctl\n"
        "print([one['num_threads'] for one in threadpoolctl.threadpool_info() if one['user_api'] == 'blas'])"
    )
    unset = {"OPENBLAS_NUM_THREADS": None, "OMP_NUM_THREADS": None}
    done = place.run(code, **(unset | variables))
    # No more than there are cores.
    assert done.stdout.strip() == f"[{min(threads, len(os.sched_getaffinity(0)))}]"
