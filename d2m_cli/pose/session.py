"""One way to run every ONNX network: which device computes is asked for, checked and told."""

from __future__ import annotations

import contextlib
import gzip
import sys
import threading
from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from d2m_cli.errors import MissingWeightsError, UsageError
from d2m_cli.ground.devices import check_device_name, gpu_number, names_gpu, refuse_absent, visible_gpus
from d2m_cli.ground.digests import file_sha256
from d2m_cli.ground.options import option
from d2m_cli.media.shortage import is_shortage

CUDA = "CUDAExecutionProvider"
ON_GPU = 8
"""Rows of a batch under CUDA, where nothing else is said."""
MOST_SHAPES = 4
"""Shapes of input for which a network is kept on a GPU."""


class OnnxModel:
    """A network in ONNX Runtime that takes one array whose first axis is the batch.

    Where memory runs out its batches are halved from then on, if the network allows it.

    Parameters
    ----------
    path
        The .onnx file, or a .onnx.gz: one packed with gzip, as the embedded networks are.
    device
        "cpu", "cuda" or "cuda:1" (an error where it can't be had), or "auto" (CUDA where a GPU is, else the CPU).
    batch
        Rows computed at once where the network allows it; 0 chooses: `on_gpu` under CUDA, and one on a CPU, where more
        at once are no quicker. The last, shorter batch is padded to this number: rows then come out the same bytes
        however many there were, and CUDA plans its convolutions once.
    threads
        Threads for one operation on the CPU. With one, nothing waits for another thread, and any number of calls may
        be made side by side.
    on_gpu
        See `batch`.
    tell
        Told each time that batches become smaller for want of memory.

    Attributes
    ----------
    batch
        Rows computed at once, now.
    provider
        The execution provider that the session really uses.
    sha256
        Hash of the file.
    input_shape
        The declared shape, with None for free axes.

    Raises
    ------
    MissingWeightsError
        No such file.
    UsageError
        Not an ONNX network, or CUDA was asked for and is not to be had.
    MemoryError
        There is no memory for the network.
    """

    def __init__(
        self,
        path: Path,
        device: str = "auto",
        batch: int = 0,
        threads: int = 1,
        *,
        on_gpu: int = ON_GPU,
        tell: Callable[[str], None] | None = None,
    ) -> None:
        check_device(device)
        if not path.is_file():
            raise MissingWeightsError(f"{path}: no such file; give the path of an .onnx network")
        self.path = path
        self.sha256 = file_sha256(path)
        self._session = _open(path, device, threads)
        self.provider: str = self._session.get_providers()[0]
        if names_gpu(device) and self.provider != CUDA:
            raise UsageError(
                f"{option('device', device)}: ONNX Runtime runs {path.name} on {self.provider} here; "
                f"install onnxruntime-gpu with a matching CUDA and driver, or use {option('device', 'cpu')}"
            )
        inputs = self._session.get_inputs()
        if len(inputs) != 1:
            raise UsageError(f"{path}: has {len(inputs)} inputs where one picture is expected")
        self._input: str = inputs[0].name
        self.input_type: str = inputs[0].type
        self.input_shape: tuple[int | None, ...] = tuple(n if isinstance(n, int) else None for n in inputs[0].shape)
        self.outputs: tuple[str, ...] = tuple(output.name for output in self._session.get_outputs())
        uses_gpu = self.provider == CUDA
        fixed = self.input_shape[0] if self.input_shape else None
        self.batch = fixed or batch or (on_gpu if uses_gpu else 1)
        self._fixed, self._tell, self._halving = fixed is not None, tell, threading.Lock()
        self._run: Any = self._by_shape(device, threads) if uses_gpu else self._session.run

    def _by_shape(self, device: str, threads: int) -> ByShape:
        gpu = gpu_number(device)
        # The model itself is not held: it would wait for the garbage collector, and keep the GPU's memory so long.
        another = partial(_open, self.path, device, threads)
        return ByShape(Bound(self._session, "cuda", gpu), lambda: Bound(another(), "cuda", gpu))

    def __call__(self, rows: NDArray[Any]) -> list[NDArray[Any]]:
        """Run any number of rows; returns the outputs, each with the rows as its first axis.

        Raises
        ------
        Exception
            What ONNX Runtime raises; where memory runs out only once a batch can't be made smaller.
        """
        if not len(rows):
            raise ValueError("nothing to run")
        parts = []
        while len(rows):
            batch = self.batch
            try:
                parts.append(self._part(rows[:batch], batch))
            except Exception as error:
                if batch == 1 or self._fixed or not is_shortage(error):
                    raise
                self._halve(error, batch)
            else:
                rows = rows[batch:]
        return [np.concatenate(column) for column in zip(*parts, strict=True)]

    def _part(self, rows: NDArray[Any], batch: int) -> list[NDArray[Any]]:
        missing = batch - len(rows)
        full = np.concatenate([rows, np.repeat(rows[-1:], missing, axis=0)]) if missing else rows
        outputs: list[NDArray[Any]] = self._run(None, {self._input: np.ascontiguousarray(full)})
        return [output[: len(rows)] for output in outputs]

    def _halve(self, error: Exception, batch: int) -> None:
        """Make batches smaller where memory ran out with so many rows, and give back what larger ones hold."""
        # What the failed attempt holds goes with its frames.
        error.__traceback__ = None
        with self._halving:
            first = self.batch == batch  # else another thread's batch failed as well, and made them smaller
            if first:
                self.batch = batch // 2
            if isinstance(self._run, ByShape):
                self._session = None  # that of the first shape, which would stay
                self._run.forget(self.batch)
        if first and self._tell is not None:
            pictures = "1 picture" if self.batch == 1 else f"{self.batch} pictures"
            name = self.path.name.split(".onnx")[0]
            self._tell(f"memory ran out while {name} looked for poses: it is shown {pictures} at a time from now on")


class Bound:
    """A session whose input and outputs lie in the device's memory from one batch to the next.

    Batches go in one after the other, from whatever thread they come: the device would queue them anyway.

    Parameters
    ----------
    session
        ONNX Runtime's, with one input.
    device, number
        "cuda", or "cpu", and the number of the GPU.
    """

    def __init__(self, session: Any, device: str, number: int = 0) -> None:
        self._session, self._device = session, (device, number)
        self._binding = session.io_binding()
        self._rows: Any = None
        self._lock = threading.Lock()

    def __call__(self, outputs: None, given: dict[str, NDArray[Any]]) -> list[NDArray[Any]]:
        """As the session's own ``run`` for all outputs."""
        import onnxruntime

        ((name, rows),) = given.items()
        with self._lock:
            if self._rows is None or list(self._rows.shape()) != list(rows.shape):
                # Room of its own: on a CPU a value made from an array would be that array.
                self._rows = onnxruntime.OrtValue.ortvalue_from_shape_and_type(rows.shape, rows.dtype, *self._device)
                self._binding.bind_ortvalue_input(name, self._rows)
                # Pictures of another size give maps of another size, for which there is no room yet.
                for output in self._session.get_outputs():
                    self._binding.bind_output(output.name, *self._device)
            self._rows.update_inplace(rows)
            self._session.run_with_iobinding(self._binding)
            arrays = [output.numpy() for output in self._binding.get_outputs()]
            # On a CPU these are the session's own memory, which the next batch overwrites.
            return [array if array.flags.owndata else array.copy() for array in arrays]


class ByShape:
    """A session for each shape of input.

    The CUDA provider plans all convolutions of a network anew whenever its input has another shape than the last time,
    which takes longer than the network itself. Crops of several dancers, or of videos that are seen side by side, would
    have it plan again at every batch.

    Parameters
    ----------
    first
        For the first shape.
    another
        Gives one more.
    """

    def __init__(self, first: Bound, another: Callable[[], Bound]) -> None:
        self._spare, self._another = [first], another
        self._known: OrderedDict[tuple[int, ...], Bound] = OrderedDict()
        self._lock = threading.Lock()

    def __call__(self, outputs: None, given: dict[str, NDArray[Any]]) -> list[NDArray[Any]]:
        """As the session's own ``run`` for all outputs."""
        (rows,) = given.values()
        with self._lock:
            bound = self._known.pop(rows.shape, None)
            if bound is None:
                if len(self._known) == MOST_SHAPES:
                    self._spare.append(self._known.popitem(last=False)[1])
                bound = self._spare.pop() if self._spare else self._another()
            self._known[rows.shape] = bound
        return bound(outputs, given)

    def forget(self, most: int) -> None:
        """Let sessions go, and with them the memory of the device, whose input had more rows than these."""
        with self._lock:
            self._spare.clear()
            for shape in [shape for shape in self._known if shape[0] > most]:
                del self._known[shape]


def check_device(device: str) -> None:
    """Raise UsageError for a device that is none, and for a GPU that is not here."""
    check_device_name(device)
    refuse_absent(device, visible_gpus())


def gpu_is_visible() -> bool:
    """Whether the NVIDIA driver is here and shows a GPU."""
    return visible_gpus() > 0


def _open(path: Path, device: str, threads: int) -> Any:
    import onnxruntime

    providers: list[Any] = ["CPUExecutionProvider"]
    wants_gpu = names_gpu(device) or (device == "auto" and gpu_is_visible())
    if wants_gpu and CUDA in onnxruntime.get_available_providers():
        if hasattr(onnxruntime, "preload_dlls"):
            # It tells what it can't load on stdout, which belongs to results.
            with contextlib.redirect_stdout(sys.stderr):
                onnxruntime.preload_dlls()
        # The heuristic choice of convolutions does not depend on timing, so two runs pick the same ones.
        # What a session has taken of the GPU's memory it keeps, and nobody else can have it: music is drawn beside it.
        # As each has inputs of one shape, it asks for the same in every run, and need not take room for more. A limit
        # would have to be guessed, and would be reached where there is memory.
        settings = {"cudnn_conv_algo_search": "HEURISTIC", "arena_extend_strategy": "kSameAsRequested"}
        if number := gpu_number(device):
            # The first GPU is the default; named all the same, it makes ONNX Runtime warn of plugins.
            settings["device_id"] = str(number)
        providers.insert(0, (CUDA, settings))
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # the provider in use is checked and told by the caller
    options.intra_op_num_threads = threads
    if len(providers) > 1:
        # From the second run on it would take all that a run needs once more, in one piece.
        options.enable_mem_pattern = False
    # Threads that wait in a loop take the cores from whatever else computes here.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        network = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else str(path)
        return onnxruntime.InferenceSession(network, options, providers=providers)
    except Exception as error:  # neither onnxruntime's exceptions nor those of gzip have a common public base
        if is_shortage(error):
            raise MemoryError(f"{path}: there is no memory for this network ({str(error)[:200]})") from error
        raise UsageError(f"{path}: is not a network that ONNX Runtime can load ({str(error)[:200]})") from error
