"""Frames per second of tools/, from a video to a drawn video."""

import io
import sys
import threading
from collections import defaultdict
from contextlib import ExitStack, redirect_stderr, redirect_stdout
from functools import wraps
from pathlib import Path
from time import perf_counter
from types import ModuleType
from typing import Any, Callable, Dict, List
from unittest import mock

import cv2
import numpy as np
import onnx
import onnxruntime
import torch
from mmpose.models import TopdownPoseEstimator
from mmpose.models.data_preprocessors import PoseDataPreprocessor
from mmpose.models.heads.base_head import BaseHead

from .configs import TOOLS, import_script
from .export import load_session

RUN_ONNX = TOOLS / 'deployment' / 'run_onnx.py'
#: What a frame goes through, in this order.
PARTS = ('read', 'crop', 'network', 'decode', 'draw', 'write')


class Stopwatch:
    """Seconds in the parts of a program.

    Those of a part that runs within another are not the other's, too. Threads
    count alike.
    """

    def __init__(self) -> None:
        self.seconds: Dict[str, float] = defaultdict(float)
        self.within = threading.local()

    def timed(self, part: str, function: Callable) -> Callable:
        """A function whose time is that of a part."""

        @wraps(function)
        def run(*args: Any, **kwargs: Any) -> Any:
            outer = getattr(self.within, 'seconds', 0.0)
            self.within.seconds, start = 0.0, perf_counter()
            try:
                return function(*args, **kwargs)
            finally:
                whole = perf_counter() - start
                self.seconds[part] += whole - self.within.seconds
                self.within.seconds = outer + whole

        return run


class RTMLibModel:
    """RTMPose by rtmlib, with the methods of run_onnx.py's ``PoseModel``.

    Args:
        path (Path): An RTMPose as an ONNX file.
        threads (int): Of a CPU.
    """

    def __init__(self, path: Path, threads: int) -> None:
        import rtmlib

        self.draw_people = rtmlib.draw_skeleton
        self.pose = rtmlib.RTMPose(str(path))
        # It does not let one choose the threads.
        self.pose.session = load_session(onnx.load(path), threads)

    def predict(self, image: np.ndarray, boxes: np.ndarray) -> tuple:
        """Keypoints (N, K, 2) of the people in boxes, and scores (N, K)."""
        return self.pose(image, bboxes=boxes[:, :4])

    def draw(
        self,
        image: np.ndarray,
        keypoints: np.ndarray,
        scores: np.ndarray,
        threshold: float,
    ) -> None:
        """Draw people, as far as they are sure, into a picture."""
        self.draw_people(image, keypoints, scores, kpt_thr=threshold)


class Timed:
    """An object with methods that are timed.

    Those of OpenCV's classes cannot be replaced, and what a class of Python
    inherits from them breaks the memory.
    """

    def __init__(self, inner: Any, watch: Stopwatch, **parts: str) -> None:
        self.inner = inner
        for name, part in parts.items():
            setattr(self, name, watch.timed(part, getattr(inner, name)))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


class EndToEnd:
    """The tools that draw the people of a video, and how long they take.

    Args:
        video (Path): Their input.
        boxes (list[list[float]]): x, y, width and height of each person, the
            same in all frames.
        folder (Path): Of what they write.
        threads (int): Of the networks. Reading and writing have a thread of
            their own.

    Raises:
        ValueError: If OpenCV cannot read the video.
    """

    def __init__(
        self,
        video: Path,
        boxes: List[List[float]],
        folder: Path,
        threads: int,
    ) -> None:
        self.infer = import_script(TOOLS / 'infer.py')
        self.run_onnx = import_script(RUN_ONNX)
        self.frames = len(self.run_onnx.Video(video, folder).times) - 1
        if self.frames < 1:
            raise ValueError(f'{video} is no video that OpenCV can read')
        self.threads = threads
        # Whatever a model thinks of its keypoints, all are drawn.
        self.options = [video, '--out', folder, '--overwrite', '--kpt-thr=-1']
        for box in boxes:
            self.options += ['--bbox', *box]

    def run_infer(self, config: Path, checkpoint: Path, device: str) -> Dict:
        """Seconds of a frame in infer.py, see :meth:`run`."""
        torch.set_num_threads(self.threads)
        options = ('--pose', config, checkpoint, '--device', device)
        return self.run(self.infer, *options)

    def run_file(self, model: Path) -> Dict[str, float]:
        """Seconds of a frame in run_onnx.py, see :meth:`run`."""
        options = ('--model', model, '--threads', self.threads)
        return self.run(self.run_onnx, *options)

    def run_rtmlib(self, model: Path) -> Dict[str, float]:
        """Seconds of a frame by rtmlib, with the video of run_onnx.py."""
        with mock.patch.object(self.run_onnx, 'PoseModel', RTMLibModel):
            return self.run_file(model)

    def run(self, tool: ModuleType, *options: Any) -> Dict[str, float]:
        """Run a tool in this process.

        Returns:
            dict[str, float]: Seconds of a frame in each of the ``PARTS``, and
            of all, ``whole``. That is less where two run at a time. To load a
            model does not count.
        """
        watch, capture, coder = Stopwatch(), cv2.VideoCapture, cv2.VideoWriter

        def reader(path: str) -> Timed:
            return Timed(capture(path), watch, grab='read', read='read')

        def writer() -> Timed:
            return Timed(coder(), watch, write='write')

        argv = [str(x) for x in (tool.__file__, *self.options, *options)]
        with ExitStack() as stack:
            for owner, name, part in self.functions():
                timed = watch.timed(part, getattr(owner, name))
                stack.enter_context(mock.patch.object(owner, name, timed))
            for owner, name, value in (
                (cv2, 'VideoCapture', reader),
                (cv2, 'VideoWriter', writer),
                (sys, 'argv', argv),
            ):
                stack.enter_context(mock.patch.object(owner, name, value))
            printed = io.TextIOWrapper(io.BytesIO(), encoding='utf-8')
            stack.enter_context(redirect_stdout(printed))
            stack.enter_context(redirect_stderr(printed))
            start = perf_counter()
            tool.main()
            watch.seconds['whole'] = perf_counter() - start
        watch.seconds['whole'] -= watch.seconds.pop('load')
        return {k: v / self.frames for k, v in watch.seconds.items()}

    def functions(self) -> list:
        """Where the parts are: owner, name and part of functions."""
        pose, model = self.infer.PoseInferencer, self.run_onnx.PoseModel
        found = [
            (self.infer, 'load_inferencer', 'load'),
            (pose, 'predict', 'crop'),
            (PoseDataPreprocessor, 'forward', 'crop'),
            (pose, 'forward', 'network'),
            (BaseHead, 'decode', 'decode'),
            (TopdownPoseEstimator, 'add_pred_to_datasample', 'decode'),
            (pose, 'draw', 'draw'),
            (model, '__init__', 'load'),
            (model, 'predict', 'crop'),
            (onnxruntime.InferenceSession, 'run', 'network'),
            (model, 'draw', 'draw'),
        ]
        if model is RTMLibModel:
            import rtmlib

            found.append((rtmlib.RTMPose, 'postprocess', 'decode'))
        return found
