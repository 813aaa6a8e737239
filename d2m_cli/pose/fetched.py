"""Pose networks as others publish them: looked at before they are kept."""

from __future__ import annotations

import tempfile
from pathlib import Path
from zipfile import BadZipFile, ZipFile

from d2m_cli.errors import UsageError
from d2m_cli.hub.pull import member_of
from d2m_cli.pose.hrnet import HRNet
from d2m_cli.pose.session import OnnxModel

MEMBER = "end2end.onnx"


def open_ready(path: Path) -> HRNet:
    """Load an HRNet that others turned into ONNX, and see in the file itself how it wants its pictures.

    Raises
    ------
    UsageError
        It is no such network, or the file does not tell.
    """
    network = HRNet(OnnxModel(path, "cpu"), path.stem)
    if not network.own_colours:
        raise UsageError(
            f"{path}: holds no mean of colours, so that the file does not say whether its pictures are to be normalised"
        )
    return network


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
