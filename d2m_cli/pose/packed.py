"""A network inside an archive, as mmdeploy packs them."""

from __future__ import annotations

import tempfile
from pathlib import Path
from zipfile import BadZipFile, ZipFile

from d2m_cli.errors import UsageError
from d2m_cli.hub.pull import member_of
from d2m_cli.pose.session import OnnxModel

MEMBER = "end2end.onnx"


def open_packed(path: Path) -> OnnxModel:
    """Load the network of an archive, to see whether it is one.

    Raises
    ------
    DownloadError, UsageError
        The file is no archive, holds no network, or one that can't be loaded.
    """
    try:
        with ZipFile(path) as packed, tempfile.TemporaryDirectory() as folder:
            return OnnxModel(Path(packed.extract(member_of(packed, MEMBER), folder)), "cpu")
    except BadZipFile as error:
        raise UsageError(f"{path}: is no archive ({error})") from error
