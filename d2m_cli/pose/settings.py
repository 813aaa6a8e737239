"""What poses hang on, told without loading a network."""

from __future__ import annotations

from dataclasses import replace

from d2m_cli.errors import MissingWeightsError
from d2m_cli.ground.devices import names_gpu
from d2m_cli.hub.known import known_sha256
from d2m_cli.pose.options import PoseOptions
from d2m_cli.pose.session import gpu_is_visible
from d2m_cli.pose.weights import network_kind, network_path, pose_weights, resolved

FOR_HRNET = ("flip_test", "decoding")
"""Options of heat maps and of a second look, which no other pose network knows."""


def pose_settings(options: PoseOptions, *, verify: bool = False) -> dict[str, object]:
    """What the poses hang on: not where files lie, how fast they are computed or how many are held in memory.

    No network is loaded for that.

    Raises
    ------
    MissingWeightsError
        A network is not there.
    """
    options = heeded(options)
    return {
        "model": resolved(options.model).split(":")[0],
        "networks": network_hashes(options, verify=verify),
        "gpu": takes_gpu(options.device),
        "dancers": str(options.dancers),
        "decoder": options.decoder,
        "flip_test": options.flip_test,
        "decoding": options.decoding,
        "longest": options.longest,
        "detect_longest": options.detect_longest,
        "camera": options.camera,
        **options.passage.settings,
    }


def heeded(options: PoseOptions) -> PoseOptions:
    """The options, with those that the pose network has no use for as they are by default."""
    return replace(options, **{name: getattr(PoseOptions, name) for name in unheeded(options)})


def unheeded(options: PoseOptions) -> tuple[str, ...]:
    """Names of the options that ask for something, and have no effect with the pose network that is meant."""
    if network_kind(resolved(options.model)) == "hrnet":
        return ()
    return tuple(name for name in FOR_HRNET if getattr(options, name) != getattr(PoseOptions, name))


def takes_gpu(device: str) -> bool:
    """Whether a device's name means a GPU on this machine; numbers computed there differ in their last bits."""
    return names_gpu(device) or (device == "auto" and gpu_is_visible())


def seen_at_once(device: str) -> int:
    """How many videos are worth being looked at side by side: while one is decoded, the networks look at another."""
    return 4 if takes_gpu(device) else 2


def network_hashes(options: PoseOptions, *, verify: bool = False) -> dict[str, str]:
    """SHA-256 of the pose network and of the detector that these options mean.

    Raises
    ------
    MissingWeightsError
        A network is not there.
    """
    model = resolved(options.model)
    network = pose_weights("movenet-thunder") if model == "movenet" else network_path(model)
    own = options.detector == "multipose"
    detector = pose_weights("movenet-multipose") if own else network_path(options.detector.removeprefix("rtmo:"))
    for path in (network, detector):
        if not path.is_file():
            raise MissingWeightsError(f"{path}: no such file; give the path of an .onnx network")
    return {
        "pose": known_sha256(network, verify=verify),
        "detector": known_sha256(detector, verify=verify),
    }
