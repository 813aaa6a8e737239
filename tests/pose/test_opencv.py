"""OpenCV's own threads."""

from __future__ import annotations

import cv2

from d2m_cli.pose.opencv import no_threads_of_its_own


def test_what_was_set_before_is_set_again_by_the_last_to_leave() -> None:
    before = cv2.getNumThreads()
    try:
        cv2.setNumThreads(2)
        first, second = no_threads_of_its_own(), no_threads_of_its_own()
        first.__enter__()
        second.__enter__()
        assert cv2.getNumThreads() == 1
        first.__exit__(None, None, None)
        assert cv2.getNumThreads() == 1
        second.__exit__(None, None, None)
        assert cv2.getNumThreads() == 2
    finally:
        cv2.setNumThreads(before)
