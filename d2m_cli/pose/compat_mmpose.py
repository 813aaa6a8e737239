"""All that it takes to build an mmpose network beside current packages, in one place.

mmpose 1.3 imports compiled operators (full mmcv), mmdet, torchvision and xtcocotools when it is loaded, though a heat
map network uses none of them. Where one is missing, an empty stand-in takes its name; it raises if it is ever used.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

from d2m_cli.errors import MissingExtraError, UsageError
from d2m_cli.hub.catalogue import MMPOSE_INSTALL


class _StandIn(ModuleType):
    """A module whose every name is a class that can be named and inherited, but not made."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.__path__: list[str] = []
        self.__spec__ = ModuleSpec(name, None, is_package=True)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)

        def refuse(self: object, *_: object, **__: object) -> None:
            raise MissingExtraError(f"{name} is not available in this installation; {MMPOSE_INSTALL}")

        made = type(name, (), {"__init__": refuse})
        setattr(self, name, made)
        return made


def _imports(name: str) -> bool:
    try:
        importlib.import_module(name)
    except ImportError:
        # mmcv-lite ships the folder of operators without the operators: only an import tells.
        return False
    return True


def _stand_in(name: str) -> None:
    module = _StandIn(name)
    sys.modules[name] = module
    parent, _, child = name.rpartition(".")
    if parent in sys.modules:
        setattr(sys.modules[parent], child, module)


def prepare() -> None:
    """Make ``import mmpose.models`` possible.

    Raises
    ------
    MissingExtraError
        mmpose or what it needs is not installed.
    """
    for name in ("mmengine", "mmcv", "mmpose"):
        if importlib.util.find_spec(name) is None:
            raise MissingExtraError(f"{name} is not installed; {MMPOSE_INSTALL}")
    try:
        importlib.import_module("mmcv")
        if not _imports("xtcocotools"):
            _alias_cocotools()
        for name in ("mmcv.ops", "mmdet", "mmdet.utils", "torchvision", "torchvision.transforms"):
            if not _imports(name):
                _stand_in(name)
        importlib.import_module("mmpose.models")
    except ImportError as error:
        raise MissingExtraError(f"mmpose can't be imported ({error}); {MMPOSE_INSTALL}") from error


def _alias_cocotools() -> None:
    for name in ("", ".coco", ".cocoeval", ".mask"):
        sys.modules[f"xtcocotools{name}"] = importlib.import_module(f"pycocotools{name}")


def build(config: Path) -> Any:
    """The network of an mmpose configuration, at random weights, without fetching a pretrained backbone.

    Raises
    ------
    MissingExtraError
        See `prepare`.
    UsageError
        The configuration can't be read, or is not that of a pose network.
    """
    prepare()
    config_class = importlib.import_module("mmengine.config").Config
    init_default_scope = importlib.import_module("mmengine.registry").init_default_scope
    models = importlib.import_module("mmpose.registry").MODELS
    try:
        settings = config_class.fromfile(str(config))
        init_default_scope("mmpose")
        settings.model.backbone.init_cfg = None
        return models.build(settings.model)
    except MissingExtraError:
        raise
    except Exception as error:  # configurations are programs: they may raise anything
        raise UsageError(f"{config}: no network can be built from this configuration ({error})") from error
