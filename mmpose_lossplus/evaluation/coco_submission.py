import re
import zipfile
from pathlib import Path
from typing import Any, Dict, Sequence

import mmengine
import numpy as np
from mmengine.fileio import exists
from mmengine.logging import print_log
from mmpose.evaluation.metrics import CocoMetric
from mmpose.registry import METRICS

from ..experiments.files import replace

_WHERE = (
    'the image list of test-dev2017, image_info_test-dev2017.json, is in '
    'http://images.cocodataset.org/annotations/image_info_test2017.zip'
)


@METRICS.register_module()
class CocoSubmission(CocoMetric):
    """Zip file for COCO's keypoint server, which alone knows test-dev's AP.

    Writes ``person_keypoints_{testset}_{name}_results.zip`` with the JSON
    file of the same stem, as https://cocodataset.org/#upload asks, in the
    format of https://cocodataset.org/#format-results: ``image_id``,
    ``category_id``, ``keypoints`` (17 times x, y, v with 0-based pixels and
    v = 1, which the server ignores) and ``score``. Scores and NMS are those
    of :class:`mmpose.evaluation.CocoMetric`.

    Args:
        ann_file (str): Image list of the test set,
            ``image_info_test-dev2017.json``.
        name (str): Name of the algorithm for the file's name; letters,
            digits, dots and hyphens, since underscores separate its parts.
        out_dir (str): Folder for the zip file. Defaults to 'submissions'.
        testset (str): Test set for the file's name. Defaults to
            'test-dev2017'.
        **kwargs: ``score_mode``, ``nms_mode`` and so on, see
            :class:`mmpose.evaluation.CocoMetric`.

    Raises:
        FileNotFoundError: If ``ann_file`` does not exist.
        ValueError: If ``ann_file`` has no images or ``name`` does not fit;
            while testing, if a prediction is for an image that ``ann_file``
            lacks, has not 17 keypoints or is not finite.
    """

    def __init__(
        self,
        ann_file: str,
        name: str,
        out_dir: str = 'submissions',
        testset: str = 'test-dev2017',
        **kwargs: Any,
    ) -> None:
        if not re.fullmatch(r'[A-Za-z0-9.-]+', name):
            raise ValueError(
                'name must consist of letters, digits, dots and hyphens, got '
                f'{name!r}.'
            )
        if not exists(ann_file):
            raise FileNotFoundError(f'{ann_file} does not exist: {_WHERE}.')
        super().__init__(
            ann_file=ann_file,
            format_only=True,
            outfile_prefix=f'{out_dir}/person_keypoints_{testset}_{name}'
            '_results',
            **kwargs,
        )
        if not self.coco.imgs:
            raise ValueError(f'{ann_file} lists no images: {_WHERE}.')
        mmengine.mkdir_or_exist(out_dir)

    def process(
        self, data_batch: Sequence[dict], data_samples: Sequence[dict]
    ) -> None:
        """Collect a batch, see :class:`mmpose.evaluation.CocoMetric`."""
        for sample in data_samples:
            if sample['img_id'] not in self.coco.imgs:
                raise ValueError(
                    f'A prediction is for image {sample["img_id"]}, which is '
                    f'not in {self.ann_file}.'
                )
            keypoints = np.asarray(sample['pred_instances']['keypoints'])
            bad = (~np.isfinite(keypoints)).sum()
            if keypoints.shape[1:] != (17, 2) or bad:
                raise ValueError(
                    f'Predictions for image {sample["img_id"]} must be 17 '
                    'finite pairs of coordinates per person, got an array of '
                    f'shape {keypoints.shape} with {bad} non-finite numbers.'
                )
        super().process(data_batch, data_samples)

    def compute_metrics(self, results: list) -> Dict[str, int]:
        """Write the zip file, and count 'people' and their 'images'."""
        super().compute_metrics(results)
        return self.written

    def results2json(
        self, keypoints: Dict[int, list], outfile_prefix: str
    ) -> None:
        """Write what the server reads, instead of CocoMetric's JSON file."""
        people = []
        for person in (p for image in keypoints.values() for p in image):
            points = np.asarray(person['keypoints'], dtype=float).round(2)
            points[:, 2] = 1
            people.append(
                dict(
                    image_id=int(person['img_id']),
                    category_id=int(person['category_id']),
                    keypoints=points.ravel().tolist(),
                    # AP needs their order, which few decimals would blur.
                    score=round(float(person['score']), 6),
                )
            )
        file = Path(f'{outfile_prefix}.zip')

        def write(path: Path) -> None:
            with zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED) as archive:
                text = mmengine.dump(people, file_format='json')
                archive.writestr(f'{file.stem}.json', text)

        replace(file, write)
        images = len({person['image_id'] for person in people})
        self.written = dict(people=len(people), images=images)
        print_log(
            f'{file} has {len(people)} people in {images} of the '
            f'{len(self.coco.imgs)} images of {self.ann_file}.',
            'current',
        )
