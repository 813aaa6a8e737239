"""Where the work of a batch is done: in this process, or on the nodes of a Ray cluster."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from d2m_cli.batch.options import BatchOptions
from d2m_cli.batch.outcome import BatchSummary, Making, Work


def on_engine(
    making: Making,
    run: Callable[[Work, int], BatchSummary],
    options: BatchOptions,
    *,
    workers: int,
    on_gpu: bool,
    settings: Mapping[str, Any],
    settings_there: Callable[[], Mapping[str, Any]],
) -> BatchSummary:
    """Go through a batch with the engine that its options name.

    Parameters
    ----------
    making
        Gets ready what does the work, once in each process that does it.
    run
        Goes through the batch with that work, so many files at once.
    options
        Name the engine.
    workers
        So many files at once suit one process.
    on_gpu
        Whether the work wants a GPU.
    settings
        What the results hang on, as this process knows it.
    settings_there
        The same, as another process finds it where that runs.

    Raises
    ------
    MissingExtraError
        Ray is asked for and not installed.
    UsageError
        The cluster can't be reached, or does not fit.
    """
    if options.engine == "ray" and not options.dry_run:
        from d2m_cli.batch.engines.ray_pool import on_ray

        return on_ray(
            making,
            run,
            options.ray_address,
            workers=workers,
            on_gpu=on_gpu,
            settings=settings,
            settings_there=settings_there,
        )
    summary = None
    try:
        with making() as work:
            summary = run(work, workers)
            if summary.interrupted:
                # What loads networks meanwhile hears of it.
                raise KeyboardInterrupt
    except KeyboardInterrupt:
        if summary is None:
            raise
    return summary


def device_there(device: str, options: BatchOptions) -> str:
    """The device that a name means where the work is done: on a cluster "auto" is a GPU if any of its nodes has one.

    Raises
    ------
    MissingExtraError
        Ray is asked for and not installed.
    UsageError
        The cluster can't be reached; a GPU of a certain number is asked for, which Ray deals out itself.
    """
    if options.engine != "ray":
        return device
    from d2m_cli.batch.engines.ray_pool import device_on_ray

    return device_on_ray(device, options.ray_address)
