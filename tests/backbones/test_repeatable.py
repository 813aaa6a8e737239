from __future__ import annotations

import torch
from torch.nn.attention import SDPBackend, _cur_sdpa_kernel_backends

from d2m_cli.backbones.repeatable import repeatable


def settings() -> tuple[bool, bool, bool]:
    cudnn = torch.backends.cudnn
    return cudnn.deterministic, cudnn.benchmark, SDPBackend.CUDNN_ATTENTION in _cur_sdpa_kernel_backends()


def test_cudnn_may_not_choose_what_differs_while_it_lasts() -> None:
    before = settings()
    with repeatable(torch.device("cuda:1")):
        assert settings() == (True, False, False)
    assert settings() == before


def test_elsewhere_nothing_is_changed() -> None:
    before = settings()
    with repeatable(torch.device("cpu")):
        assert settings() == before
