"""Read pickles without running anything that the file names: `ListedUnpickler`, and with it arrays of numbers.

A pickle may call any function. Here each name that a file asks for is looked up in a short list, one for each kind of
file; nothing is imported, and what the list holds can be called and not changed. AIST++ comes as pickles of arrays: its
list is of stand-ins, which only note down shape, type and bytes, and every other name ends the reading. The stand-ins
cover what numpy 1 and 2 write in protocols 2 to 5, and what Python 2 wrote.
"""

from __future__ import annotations

import math
import os
import pickle
import pickletools
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, ClassVar

import numpy as np
from numpy.typing import NDArray

from d2m_cli.errors import InputError

BROKEN = (
    pickle.UnpicklingError, EOFError, ValueError, TypeError, LookupError, AttributeError, OverflowError, MemoryError,
    RecursionError,
)  # fmt: skip
"""What unpickling a damaged file raises."""
BROKEN_CHECKPOINT = (*BROKEN, RuntimeError, OSError, AssertionError, struct.error)
"""What ``torch.load`` raises where a file is damaged, with its own unpickler or with one of those here."""


class RefusedError(pickle.UnpicklingError):
    """The file asks for what it must not; the text says for what."""


class Call:
    """What a file may call, and can't change: unlike a function it holds nothing that a file could set."""

    __slots__ = ("_function",)
    _function: Callable[..., Any]

    def __init__(self, function: Callable[..., Any]) -> None:
        object.__setattr__(self, "_function", function)

    def __call__(self, *arguments: Any) -> Any:
        return self._function(*arguments)

    def __setstate__(self, state: Any) -> None:
        raise RefusedError("a change of a function")

    def __setattr__(self, name: str, value: Any) -> None:
        raise RefusedError("a change of a function")


class ListedUnpickler(pickle.Unpickler):
    """An unpickler that looks names up in a list, and nowhere else.

    Parameters
    ----------
    file
        Stands at the pickle; one that can go back there.
    options
        As `pickle.Unpickler` takes them.

    Attributes
    ----------
    listed
        Module and name, as Python 3 and numpy 1 call them, to what the file gets.

    Raises
    ------
    ValueError
        The file numbers its parts higher than it has parts.
    """

    listed: ClassVar[Mapping[tuple[str, str], Call]] = {}

    def __init__(self, file: Any, **options: Any) -> None:
        start = file.tell()
        _check_memo(file)
        file.seek(start)
        super().__init__(file, **options)

    def find_class(self, module: str, name: str) -> Any:
        """See `pickle.Unpickler.find_class`."""
        module = module.replace("numpy._core.", "numpy.core.").replace("__builtin__", "builtins")
        found = self.listed.get((module, name))
        return self.unlisted(module, name) if found is None else found

    def unlisted(self, module: str, name: str) -> Any:
        """What the file gets for any other name.

        Raises
        ------
        RefusedError
            Always, here.
        """
        raise RefusedError(f"{module}.{name}")


@dataclass(frozen=True)
class Unread:
    """Stands for an array that was passed over.

    Attributes
    ----------
    shape
        Of the array.
    """

    shape: tuple[int, ...]


def read_pickled_arrays(path: Path, largest: int | None = None) -> dict[str, NDArray[Any] | Unread]:
    """Arrays of a pickled dict, by name.

    Parameters
    ----------
    path
        The pickle. Beside arrays of numbers it may hold numbers, strings, None, lists, tuples and dicts; those are read
        and left out of the result.
    largest
        Content of arrays above this many bytes is stepped over in the file, and comes as `Unread`; None reads all.

    Raises
    ------
    InputError
        The file can't be read, is no pickle of a dict, is cut short, or asks for anything but arrays of numbers.
    """
    try:
        with Path(path).open("rb") as file:
            content = _ArrayUnpickler(_Stepper(file, largest), encoding="latin1").load()
        if not isinstance(content, dict):
            raise InputError(f"{path}: holds a {type(content).__name__} where a dict of arrays belongs")
        return {str(name): value.finished(largest) for name, value in content.items() if isinstance(value, _Array)}
    except RefusedError as error:
        raise InputError(
            f"{path}: asks for {error}, which arrays of numbers do not need; nothing in it was run. Do not open it "
            "with other programs, and download it again from its origin"
        ) from error
    except OSError as error:
        raise InputError(f"{path}: can't be read ({error.strerror or error})") from error
    except BROKEN as error:
        told = str(error).splitlines()[0][:120] if str(error) else type(error).__name__
        raise InputError(f"{path}: is no complete pickle of arrays ({told}); download it again") from error


def _check_memo(file: Any) -> None:
    """Raise ValueError where a file numbers its parts higher than it has parts.

    The unpickler keeps parts in a table as long as the highest number, and a few bytes can say four thousand million.
    """
    for parts, (opcode, number, _) in enumerate(pickletools.genops(file)):
        if opcode.name in ("PUT", "BINPUT", "LONG_BINPUT") and not 0 <= int(number or 0) <= parts:
            raise ValueError(f"part {number} of {parts}")


class _Stepper:
    """A file whose large blocks are stepped over instead of read.

    The unpickler asks for the content of an array by `readinto`, and for everything else by `read`.
    """

    def __init__(self, file: BinaryIO, largest: int | None) -> None:
        self._file, self._largest = file, largest
        self._size = os.fstat(file.fileno()).st_size
        self.read, self.readline, self.seek, self.tell = file.read, file.readline, file.seek, file.tell

    def readinto(self, block: bytearray | memoryview) -> int:
        if self._largest is None or len(block) <= self._largest:
            return self._file.readinto(block)  # type: ignore[attr-defined, no-any-return]
        here = self._file.tell()
        there = min(here + len(block), self._size)
        self._file.seek(there)
        return there - here


class _Type:
    """Stands for a ``numpy.dtype`` of numbers."""

    __slots__ = ("_order", "_plain")

    def __init__(self, code: Any) -> None:
        plain = np.dtype(code) if isinstance(code, str) and len(code) <= 8 else None
        if plain is None or plain.kind not in "biufc":
            raise RefusedError(f"arrays of the type {str(code)[:20]!r}")
        self._plain, self._order = plain, plain.byteorder

    def __setstate__(self, state: Any) -> None:
        # (version, byte order, ...): the rest describes types that are not plain numbers.
        if not (isinstance(state, tuple) and len(state) > 1 and state[1] in ("<", ">", "|", "=")):
            raise RefusedError("an unknown state of numpy.dtype")
        self._order = state[1]

    def real(self) -> np.dtype[Any]:
        return self._plain.newbyteorder(self._order) if self._order in ("<", ">") else self._plain


class _Array:
    """Stands for a ``numpy.ndarray``, or for one number of numpy's."""

    __slots__ = ("_axes", "_content", "_order", "_shape", "_type")

    def __init__(self) -> None:
        self._axes: tuple[int, ...] | None = None
        self._shape: tuple[int, ...] = (0,)
        self._type: _Type | None = None
        self._order: Any = "C"
        self._content: Any = b""

    def __setstate__(self, state: Any) -> None:
        if not isinstance(state, tuple) or len(state) not in (4, 5):
            raise RefusedError("an unknown state of numpy.ndarray")
        shape, kind, fortran, content = state[-4:]
        self._fill(shape, kind, "F" if fortran else "C", content)

    def _fill(self, shape: Any, kind: Any, order: str, content: Any) -> None:
        if not isinstance(kind, _Type):
            raise RefusedError("an array without a type")
        if not (isinstance(shape, tuple) and all(type(side) is int and side >= 0 for side in shape)):
            raise RefusedError("an array without a shape")
        # Python 2 wrote bytes as text, which comes here as Latin-1.
        content = content.encode("latin1") if isinstance(content, str) else content
        if not isinstance(content, bytes | bytearray):
            raise RefusedError("an array of objects")
        if len(content) != math.prod(shape) * kind.real().itemsize:
            raise ValueError(f"an array of the shape {shape} holds {len(content)} bytes")
        self._shape, self._type, self._order, self._content = shape, kind, order, content

    def finished(self, largest: int | None) -> NDArray[Any] | Unread:
        if self._type is None:
            raise ValueError("an array without content")
        axes = range(len(self._shape)) if self._axes is None else self._axes
        if largest is not None and len(self._content) > largest:
            return Unread(tuple(self._shape[axis] for axis in axes))
        flat: NDArray[Any] = np.frombuffer(self._content, self._type.real())
        return flat.reshape(self._shape, order=self._order).transpose(*axes)


def _array(*_: Any) -> _Array:
    return _Array()


def _array_of(content: Any, kind: Any, shape: Any, order: Any, axes: Any = None) -> _Array:
    array = _Array()
    array._fill(shape, kind, "F" if order == "F" else "C", content)
    if order == "K" and axes is not None:
        if not isinstance(axes, tuple) or sorted(axes) != list(range(len(shape))):
            raise RefusedError("an array with unknown axes")
        array._axes = axes
    return array


def _number(kind: Any, content: Any = None) -> _Array:
    return _array_of(content, kind, (), "C")


def _dtype(code: Any, *_: Any) -> _Type:
    return _Type(code)


def _latin1(text: Any, encoding: Any) -> bytes:
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
        raise RefusedError(f"_codecs.encode to {str(encoding)[:20]!r}")
    return text.encode("latin1")


def _empty(*arguments: Any) -> bytes:
    if arguments:
        raise RefusedError("a call of builtins.bytes")
    return b""


def _never(*_: Any) -> None:
    raise RefusedError("a call of numpy.ndarray")


class _ArrayUnpickler(ListedUnpickler):
    listed: ClassVar = {
        ("numpy", "ndarray"): Call(_never),
        ("numpy", "dtype"): Call(_dtype),
        ("numpy.core.multiarray", "_reconstruct"): Call(_array),
        ("numpy.core.multiarray", "scalar"): Call(_number),
        ("numpy.core.numeric", "_frombuffer"): Call(_array_of),
        ("_codecs", "encode"): Call(_latin1),
        ("builtins", "bytes"): Call(_empty),
    }
