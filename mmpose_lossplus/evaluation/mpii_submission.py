from io import BytesIO
from pathlib import Path
from typing import Dict, NamedTuple, Optional, Sequence, Union

import mmengine
import numpy as np
from mmengine.evaluator import BaseMetric
from mmengine.fileio import exists, get
from mmengine.logging import print_log
from mmpose.registry import METRICS
from scipy.io import loadmat, savemat

from ..experiments.files import replace


class Release(NamedTuple):
    """RELEASE of MPII Human Pose; below, all is as SciPy reads it.

    Attributes:
        annolist (np.ndarray): Structs of shape (N,), N images.
        img_train (np.ndarray): 1 for training, 0 for test, shape (N,).
        single_person (np.ndarray): 1-based rectangle numbers, shape (N,).
    """

    annolist: np.ndarray
    img_train: np.ndarray
    single_person: np.ndarray


def load_release(path: Union[str, Path]) -> Release:
    """Load the annotations of MPII, ``mpii_human_pose_v1_u12_1.mat``.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is something else.
    """
    if not exists(path):
        raise FileNotFoundError(
            f'{path} does not exist; mpii_human_pose_v1_u12_1.mat is in the '
            'annotations at http://human-pose.mpi-inf.mpg.de.'
        )
    names = ', '.join(Release._fields)
    try:
        content = loadmat(BytesIO(get(path)), variable_names='RELEASE')
        record = content['RELEASE'][0, 0]
        release = Release(*(record[f].ravel() for f in Release._fields))
        lengths = [len(entries) for entries in release]
        if len(set(lengths)) > 1:
            raise ValueError(f'{lengths} entries in {names}')
    # SciPy raises all kinds of errors for what is no MATLAB file.
    except Exception as error:
        raise ValueError(
            f'{path} is not mpii_human_pose_v1_u12_1.mat: reading RELEASE '
            f'with {names} failed ({error!r}).'
        ) from error
    return release


def _add_points(
    rects: np.ndarray, points: Dict[int, np.ndarray]
) -> np.ndarray:
    """Set ``annopoints`` of some ``annorect``, keeping all else."""
    names = list(dict.fromkeys([*rects.dtype.names, 'annopoints']))
    new = np.empty(rects.shape, dtype=[(name, 'O') for name in names])
    for old, rect in zip(rects.flat, new.flat):
        rect['annopoints'] = np.empty((0, 0))
        for name in rects.dtype.names:
            rect[name] = old[name]
    for index, xy in points.items():
        point = np.empty((1, 16), dtype=[(k, 'O') for k in ('x', 'y', 'id')])
        point['x'], point['y'] = xy.T
        point['id'] = np.arange(16.0)
        new['annopoints'].flat[index] = dict(point=point)
    return new


@METRICS.register_module()
class MpiiSubmission(BaseMetric):
    """Predictions in the layout that MPII's evaluation asks for.

    The joints of MPII's test set are withheld; its authors evaluate a file
    ``pred_keypoints_mpii.mat``, which this writes instead of a number. As
    their instructions say (http://human-pose.mpi-inf.mpg.de/#evaluation,
    "Single Person Pose Estimation"), it holds
    ``pred = annolist(RELEASE.img_train == 0)`` with
    ``pred(imgidx).annorect(ridx).annopoints.point(pidx).x`` and ``.y`` set
    for the rectangles in ``RELEASE.single_person``, and nothing else changed:
    their ``flatten_annolist.m`` counts the rectangles with ``objpos``, so
    these must all be there. Each point has its ``id``, 0 to 15 in the order
    of :class:`mmpose.datasets.MpiiDataset`. Coordinates are pixels of the
    original image, 1-based.

    Args:
        release_file (str): ``mpii_human_pose_v1_u12_1.mat``.
        ann_file (str): The annotation file of the data set, made from it by
            ``tools/dataset_converters/mpii_test_to_json.py``.
        outfile (str): File to write. Defaults to 'pred_keypoints_mpii.mat'.
        collect_device (str): See :class:`mmengine.evaluator.BaseMetric`.
            Defaults to 'cpu'.
        prefix (str, optional): Prefix of the metric's name. ``None`` takes
            'mpii'. Defaults to ``None``.

    Raises:
        FileNotFoundError: If a file does not exist.
        ValueError: If a file is something else; while testing, if a
            prediction is not 16 finite points, or the predictions are not
            those for ``ann_file``.
    """

    default_prefix: Optional[str] = 'mpii'

    def __init__(
        self,
        release_file: str,
        ann_file: str,
        outfile: str = 'pred_keypoints_mpii.mat',
        collect_device: str = 'cpu',
        prefix: Optional[str] = None,
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        for file in (release_file, ann_file):
            if not exists(file):
                raise FileNotFoundError(f'{file} does not exist.')
        try:
            self.rects = [
                (person['image_index'], person['rect_index'])
                for person in mmengine.load(ann_file)
            ]
        except (KeyError, TypeError):
            raise ValueError(
                f"{ann_file} does not say where its people are in MPII's "
                'release (image_index, rect_index); make it with '
                'tools/dataset_converters/mpii_test_to_json.py.'
            ) from None
        self.release_file = release_file
        self.ann_file = ann_file
        self.outfile = outfile

    def process(
        self, data_batch: Sequence[dict], data_samples: Sequence[dict]
    ) -> None:
        """Collect a batch of predictions.

        Args:
            data_batch (Sequence[dict]): Not used.
            data_samples (Sequence[dict]): Each with ``id``, the position in
                ``ann_file``, and ``pred_instances.keypoints`` of shape
                (1, 16, 2), 0-based pixels.
        """
        for sample in data_samples:
            xy = np.asarray(sample['pred_instances']['keypoints'])
            if xy.shape != (1, 16, 2) or not np.isfinite(xy).all():
                raise ValueError(
                    f'The prediction for entry {sample["id"]} of '
                    f'{self.ann_file} must be 16 finite points, got shape '
                    f'{xy.shape}: {xy.tolist()}.'
                )
            self.results.append((int(sample['id']), xy[0]))

    def compute_metrics(self, results: list) -> Dict[str, int]:
        """Write the file, and count its 'people'."""
        # Ranks may have predicted some twice to get batches of one size.
        predictions = dict(results)
        expected = set(range(len(self.rects)))
        if set(predictions) != expected:
            raise ValueError(
                f'{self.ann_file} has {len(expected)} people, but '
                f'{len(expected - set(predictions))} of them were not '
                f'predicted and {len(set(predictions) - expected)} others '
                'were.'
            )
        points: Dict[int, Dict[int, np.ndarray]] = {}
        for index, xy in predictions.items():
            image, rect = self.rects[index]
            points.setdefault(image, {})[rect] = xy + 1.0

        release = load_release(self.release_file)
        annolist, test = release.annolist, release.img_train == 0
        for image, rects in points.items():
            if not (
                0 <= image < len(annolist)
                and test[image]
                and max(rects) < annolist[image]['annorect'].size
            ):
                raise ValueError(
                    f'{self.ann_file} was not made from {self.release_file}: '
                    f'rectangle {max(rects)} of image {image} is not one of '
                    "its test images'."
                )
            annolist[image]['annorect'] = _add_points(
                annolist[image]['annorect'], rects
            )
        outfile, content = Path(self.outfile), dict(pred=annolist[test][None])
        outfile.parent.mkdir(parents=True, exist_ok=True)
        replace(outfile, lambda p: savemat(p, content, do_compression=True))
        print_log(
            f'{outfile} has {len(predictions)} people in {len(points)} of '
            f'{test.sum()} test images.',
            'current',
        )
        return dict(people=len(predictions))
