"""Whether an error came of memory that ran out: of the machine, of the GPU, or of the process that reads media."""

from __future__ import annotations

from d2m_cli.errors import D2MError
from d2m_cli.media.process import MemoryLackError

_WORDS = ("out of memory", "can't allocate memory", "failed to allocate memory", "bad_alloc", "alloc_failed")
"""In small letters, what PyTorch, CUDA and ONNX Runtime say where their errors have no type of their own for it."""


def is_shortage(error: BaseException) -> bool:
    """Whether the same work may well succeed once there is more memory free.

    Parameters
    ----------
    error
        What work on a file raised.
    """
    if isinstance(error, D2MError):
        return isinstance(error, MemoryLackError)
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    # By words: the libraries that raise it may not even be imported, and are not to be for this.
    return any(word in str(error).lower() for word in _WORDS)
