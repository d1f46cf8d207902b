r"""Find the people in pictures with a detector of MMDet: MMPose's bbox_file.

    python tools/dataset_converters/detect_persons.py CONFIG CHECKPOINT \
        --ann data/coco/annotations/person_keypoints_val2017.json \
        --img-root data/coco/val2017 --out boxes.json

Takes the images of a COCO-style annotation file (test-dev's image list will
do) or, without --ann, of a folder. There, a picture's id is the number that
its name is, as COCO's and MPII's are; if any name is none, the ids are 1, 2,
... in the order of the names. The image list of a folder is written beside
the boxes, as FILE.images.json, for MMPose's ann_file.

Boxes with low scores are kept: a pose that is missing costs AP, and a false
one that comes after all others costs little. So --score-thr and --nms-thr go
into the detector itself, whose own threshold is often 0.05.

Several GPUs: torchrun --nproc_per_node 8 (this) --launcher pytorch, or slurm.
"""

import argparse
import json
import os
import re
import sys
import tempfile
from pathlib import Path
from typing import Dict, List, Optional, Sequence, Tuple

import cv2
import numpy as np
import torch
from mmcv.transforms import Compose
from mmengine.config import Config, ConfigDict
from mmengine.dist import is_main_process
from mmengine.evaluator import Evaluator
from mmengine.fileio import join_path, list_dir_or_file
from mmengine.runner import Runner
from torch.utils.data import Dataset

try:
    from mmdet.apis import init_detector
    from mmdet.evaluation import CocoMetric
    from mmdet.models import BaseDetector
    from mmdet.utils import get_test_pipeline_cfg
except ModuleNotFoundError as error:
    sys.exit(f'The detectors are those of MMDet: mim install mmdet ({error}).')

from mmpose_lossplus.experiments.entries import (
    IMAGE,
    are_numbers,
    check_entries,
    read_json,
)
from mmpose_lossplus.experiments.files import write_text
from mmpose_lossplus.experiments.weights import load_from_file, summary

SUFFIXES = ('.jpg', '.jpeg', '.png', '.bmp', '.tif', '.tiff', '.webp')
PERSON = dict(id=1, name='person')
# A detector's own limit, for which all classes compete, is lifted to this.
NO_LIMIT = 100000
# 104125 boxes for the 5000 images of val2017 are in the file of AP 56.4, see
# https://github.com/microsoft/human-pose-estimation.pytorch/issues/97. That a
# quarter of it is too few, and 0.05 too high for the lowest score (where
# MMDet's two-stage detectors cut by default), are our own rules of thumb.
PUBLISHED_PER_IMAGE = 104125 / 5000
THIN_PER_IMAGE = PUBLISHED_PER_IMAGE / 4
THIN_SCORE = 0.05
METRICS = ['mAP', 'mAP_50', 'AR@100']


class Pictures(Dataset):
    """The pictures as a detector's test pipeline packs them.

    One that cannot be read becomes a blank one of size 0, so that its batch
    stays whole and nothing is found in it.

    Args:
        images (list[dict]): ``id`` and ``file_name`` of each.
        root (str): Folder of the pictures, in any file backend.
        pipeline (list[dict]): MMDet's transforms; the first loads a picture.
        blank (str): Path of a blank picture.
    """

    metainfo = dict(classes=('person',))

    def __init__(
        self, images: List[dict], root: str, pipeline: List[dict], blank: str
    ) -> None:
        self.images = images
        self.root = root
        self.load, *rest = Compose(pipeline).transforms
        self.pack = Compose(rest)
        self.blank = blank

    def __len__(self) -> int:
        return len(self.images)

    def read(self, image: dict) -> Optional[dict]:
        """What the pipeline loads, None if it cannot."""
        path = join_path(self.root, image['file_name'])
        try:
            return self.load(dict(img_path=path, img_id=image['id']))
        except (OSError, UnicodeError, AssertionError, cv2.error):
            return None

    def __getitem__(self, index: int) -> dict:
        image = self.images[index]
        data = self.read(image)
        if data is not None:
            return self.pack(data)
        data = self.load(dict(img_path=self.blank, img_id=image['id']))
        packed = self.pack(data)
        packed['data_samples'].set_metainfo(dict(ori_shape=(0, 0)))
        return packed


class PersonBoxes(CocoMetric):
    """MMDet's writer of boxes and their AP, for people alone.

    Args:
        person (int): Label of people.
        score_thr (float): Lowest score.
        limit (int): How many boxes of an image at most.
        **kwargs: See :class:`mmdet.evaluation.CocoMetric`.
    """

    def __init__(self, person: int, score_thr: float, limit: int, **kwargs):
        super().__init__(**kwargs)
        self.person = person
        self.score_thr = score_thr
        self.limit = limit

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        for sample in data_samples:
            sample['pred_instances'] = self.people(sample)
        super().process(data_batch, data_samples)

    def people(self, sample: dict) -> Dict[str, torch.Tensor]:
        """The best boxes of people, cut at the borders of the picture.

        RTMDet, which pads pictures, finds some in the margin.
        """
        found = sample['pred_instances']
        height, width = sample['ori_shape']
        boxes, scores = found['bboxes'].clamp(min=0), found['scores']
        boxes = boxes.minimum(boxes.new_tensor([width, height] * 2))
        kept = (found['labels'] == self.person) & (scores >= self.score_thr)
        kept &= (boxes[:, 2:] > boxes[:, :2]).all(dim=1)
        scores, order = scores[kept].sort(descending=True, stable=True)
        order = order[: self.limit]
        return dict(
            bboxes=boxes[kept][order],
            scores=scores[: self.limit],
            labels=torch.zeros_like(order),
        )

    def compute_metrics(self, results: list) -> Dict[str, float]:
        # Width and height by image id, which the list of a folder needs.
        self.sizes = {
            image['img_id']: (image['width'], image['height'])
            for image, _ in results
        }
        return super().compute_metrics(results)


def list_folder(root: str) -> List[dict]:
    """List the pictures of a folder: ``id`` and ``file_name``, by name."""
    try:
        files = list_dir_or_file(root, list_dir=False)
        names = sorted(f for f in files if f.lower().endswith(SUFFIXES))
    except OSError as error:
        raise ValueError(f'{root} is no folder: {error.strerror}.') from None
    if not names:
        raise ValueError(f'{root} has no pictures ({", ".join(SUFFIXES)}).')
    stems = [Path(name).stem for name in names]
    ids = [int(stem) for stem in stems if re.fullmatch('[0-9]+', stem)]
    if len(set(ids)) < len(names):
        ids = range(1, len(names) + 1)
    return [dict(id=id_, file_name=name) for id_, name in zip(ids, names)]


def read_annotations(file: str) -> Tuple[List[dict], List[dict]]:
    """Read the images of a COCO-style file, and its people if it has some.

    Returns:
        tuple[list[dict], list[dict]]: Images, and people as an evaluation
        needs them. pycocotools takes a person with id 0 for unmatched, and
        mixes up people with one id: they are numbered from 1.
    """
    coco = read_json(file)
    if not isinstance(coco, dict):
        raise ValueError(f'{file} is not COCO-style: it is no dict.')
    listed = check_entries(coco.get('images'), f'images in {file}', IMAGE)
    images = [{key: image[key] for key in IMAGE} for image in listed]
    known = {image['id'] for image in images}
    if len(known) < len(images):
        raise ValueError(
            f'{file} lists {len(images)} images with {len(known)} different '
            'ids, expected one for each.'
        )
    if not coco.get('annotations'):
        return images, []
    categories = check_entries(
        coco.get('categories'),
        f'categories in {file}',
        dict(id=IMAGE['id'], name=IMAGE['file_name']),
    )
    names = {category['id']: category['name'] for category in categories}
    labels = check_entries(
        coco['annotations'],
        f'annotations in {file}',
        dict(
            image_id=(lambda i: i in known, 'the id of an image in the file'),
            category_id=(lambda i: i in names, f'one of {sorted(names)}'),
            bbox=(
                lambda box: are_numbers(box, 4) and min(box[2:]) >= 0,
                'finite x, y, width and height',
            ),
            iscrowd=(lambda crowd: crowd in (None, 0, 1), '0 or 1'),
        ),
    )
    labels = [a for a in labels if names[a['category_id']] == PERSON['name']]
    return images, [
        dict(
            id=number,
            image_id=ann['image_id'],
            category_id=PERSON['id'],
            bbox=ann['bbox'],
            # Without effect on the AP of all sizes together.
            area=ann['bbox'][2] * ann['bbox'][3],
            iscrowd=ann.get('iscrowd') or 0,
        )
        for number, ann in enumerate(labels, start=1)
    ]


def set_thresholds(
    test_cfg: ConfigDict, score_thr: float, nms_thr: Optional[float]
) -> None:
    """Make a detector keep low scores, in place.

    Two-stage detectors have their thresholds in ``rcnn``. Detectors without
    NMS, such as DETR, have no thresholds: their limit of boxes is that of the
    queries and stays.

    Args:
        test_cfg (ConfigDict): Of the model.
        score_thr (float): Lowest score.
        nms_thr (float, optional): IoU above which the lower of two scores
            goes. ``None`` keeps the detector's own.
    """
    head = test_cfg.get('rcnn', test_cfg)
    if 'score_thr' in head:
        head.score_thr = score_thr
    nms = head.get('nms')
    if not nms:
        if nms_thr is not None:
            raise ValueError(f'--nms-thr is {nms_thr}, but there is no NMS.')
        return
    if 'max_per_img' in head:
        head.max_per_img = NO_LIMIT
    if 'min_score' in nms:  # of soft NMS
        nms.min_score = score_thr
    if nms_thr is not None:
        nms.iou_threshold = nms_thr


def read_detector_config(
    path: str, score_thr: float, nms_thr: Optional[float]
) -> Config:
    """Read a detector's config, and see :func:`set_thresholds`."""
    try:
        cfg = Config.fromfile(path)
        get_test_pipeline_cfg(cfg)
        test_cfg = cfg.model.get('test_cfg') or ConfigDict()
    except Exception as error:  # a config is code
        raise ValueError(
            f'{path} is not the config of a detector: {summary(error)}.'
        ) from None
    set_thresholds(test_cfg, score_thr, nms_thr)
    return cfg


def build_detector(cfg: Config, checkpoint: str) -> Tuple[BaseDetector, int]:
    """Build a detector with all of its weights.

    Args:
        cfg (Config): The config.
        checkpoint (str): Path or URL of the weights.

    Returns:
        tuple[BaseDetector, int]: The detector, and its label of people.
    """
    try:
        model = init_detector(cfg, checkpoint, palette='random', device='cpu')
    except Exception as error:  # whatever components and pickles raise
        raise ValueError(
            f'{cfg.filename} with {checkpoint} is no detector: '
            f'{summary(error)}.'
        ) from None
    if not isinstance(model, BaseDetector):
        raise ValueError(
            f"{cfg.filename} is not a detector of MMDet's, its model is "
            f'{type(model).__name__}.'
        )
    # MMDet only warns of weights that do not fit.
    load_from_file(model, checkpoint, cfg.filename)
    classes = list(model.dataset_meta['classes'])
    if PERSON['name'] not in classes:
        raise ValueError(
            f'The detector of {cfg.filename} has no class person among its '
            f'{len(classes)}: {", ".join(classes[:5])}.'
        )
    # Boxes do not need the masks, which take long for so many.
    if getattr(getattr(model, 'roi_head', None), 'mask_head', None):
        model.roi_head.mask_head = None
    return model, classes.index(PERSON['name'])


def build_runner(
    args: argparse.Namespace, folder: str
) -> Tuple[Runner, PersonBoxes]:
    """Read all that the command line names, so that a fault is said at once.

    Args:
        args (Namespace): The command line.
        folder (str): Folder for temporary files.

    Returns:
        tuple[Runner, PersonBoxes]: MMEngine's runner for a test, and the
        metric with which it writes the boxes.
    """
    people = []
    if args.ann is None:
        images = list_folder(args.img_root)
    else:
        images, people = read_annotations(args.ann)
        if not people:
            print(f'no person AP: {args.ann} has no annotated persons')
    cfg = read_detector_config(args.config, args.score_thr, args.nms_thr)
    model, person = build_detector(cfg, args.checkpoint)
    blank = os.path.join(folder, 'blank.png')
    cv2.imwrite(blank, np.zeros((32, 32, 3), np.uint8))
    pipeline = get_test_pipeline_cfg(cfg)
    pictures = Pictures(images, args.img_root, pipeline, blank)
    if all(pictures.read(image) is None for image in images):
        raise ValueError(
            f'None of the {len(images)} pictures, such as '
            f'{images[0]["file_name"]}, can be read from {args.img_root}.'
        )
    truth = os.path.join(folder, 'people.json')
    content = dict(images=images, annotations=people, categories=[PERSON])
    # Until version 2.0.10 pycocotools needs an info.
    write_text(Path(truth), json.dumps(dict(content, info={})))
    metric = PersonBoxes(
        person,
        args.score_thr,
        args.max_per_img,
        ann_file=truth,
        format_only=not people,
        outfile_prefix=f'{args.out}.partial',
        metric_items=METRICS,
    )
    batch_size = args.batch_size or cfg.test_dataloader.get('batch_size', 1)
    interval = max(len(images) // batch_size // 20, 1)
    runner = Runner(
        model,
        work_dir=folder,
        test_dataloader=dict(
            batch_size=batch_size,
            num_workers=args.num_workers,
            sampler=dict(type='DefaultSampler', shuffle=False),
            dataset=pictures,
        ),
        test_evaluator=Evaluator(metric),
        test_cfg=dict(),
        default_hooks=dict(logger=dict(type='LoggerHook', interval=interval)),
        launcher=args.launcher,
        env_cfg=cfg.get('env_cfg') or dict(dist_cfg=dict(backend='nccl')),
        default_scope=cfg.get('default_scope') or 'mmdet',
        log_level='WARNING',
    )
    if is_main_process():
        # The progress, without the environment and the hooks.
        for part in (runner.logger, *runner.logger.handlers):
            part.setLevel('INFO')
    return runner, metric


def list_readable(
    images: List[dict], sizes: Dict[int, Tuple[int, int]]
) -> List[dict]:
    """Images with their size, and a line about those that have none."""
    found = [
        dict(image, width=sizes[image['id']][0], height=sizes[image['id']][1])
        for image in images
    ]
    bad = [image['file_name'] for image in found if not image['width']]
    if bad:
        print(
            f'{len(bad)} of {len(images)} images could not be read and have '
            f'no boxes: {", ".join(bad[:5])}{", ..." if bad[5:] else ""}'
        )
    return [image for image in found if image['width']]


def say_what_is_in(out: Path, images: int) -> None:
    """Print what the box file of so many images has, and if it looks thin."""
    boxes = json.loads(out.read_text(encoding='utf-8'))
    scores = [box['score'] for box in boxes] or [0]
    without = images - len({box['image_id'] for box in boxes})
    print(
        f'{out}: {len(boxes)} boxes in {images} images, '
        f'{len(boxes) / images:.1f} per image, {without} images without, '
        f'scores {min(scores):.3f} to {max(scores):.3f}, '
        f'{out.stat().st_size / 1e6:.2f} MB'
    )
    reasons = []
    if len(boxes) < THIN_PER_IMAGE * images:
        reasons.append(
            f'{len(boxes) / images:.1f} boxes per image, and the usual file '
            f'for COCO val2017 has {PUBLISHED_PER_IMAGE:.1f}'
        )
    if min(scores) >= THIN_SCORE:
        reasons.append(
            f'no score below {min(scores):.3f}, and AP needs the people of '
            'low scores, too'
        )
    if reasons:
        print(
            f'Warning: the file looks thin ({"; ".join(reasons)}): expect a '
            'lower pose AP, or lower --score-thr, or train the detector '
            'longer.'
        )


def fraction(text: str) -> float:
    if not 0 <= float(text) <= 1:
        raise ValueError
    return float(text)


def count(text: str) -> int:
    if int(text) < 1:
        raise ValueError
    return int(text)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('config', help="detector's config, as of MMDet")
    parser.add_argument('checkpoint', help='its weights, a path or a URL')
    parser.add_argument(
        '--out', type=Path, required=True, help='box file to write, FILE.json'
    )
    parser.add_argument(
        '--img-root', required=True, help='folder of the pictures'
    )
    parser.add_argument('--ann', help='COCO-style annotations')
    parser.add_argument(
        '--score-thr',
        type=fraction,
        default=0.001,
        help='lowest score (default: %(default)s)',
    )
    parser.add_argument(
        '--nms-thr', type=fraction, help="IoU of NMS (default: detector's own)"
    )
    parser.add_argument(
        '--max-per-img',
        type=count,
        default=100,
        help="people per image (default: %(default)s, as in COCO's box AP)",
    )
    parser.add_argument(
        '--batch-size', type=count, help="default: that of the config's test"
    )
    parser.add_argument(
        '--num-workers',
        type=int,
        default=2,
        help='processes that load pictures (default: %(default)s)',
    )
    parser.add_argument(
        '--launcher',
        choices=['none', 'pytorch', 'slurm', 'mpi'],
        default='none',
        help='job launcher for several GPUs',
    )
    args = parser.parse_args()
    # MMPose knows the format by the name.
    if args.out.suffix != '.json' or args.out.is_dir():
        sys.exit(f'--out is {args.out}, must be a file FILE.json.')
    if args.ann and os.path.realpath(args.ann) == os.path.realpath(args.out):
        sys.exit(f'--out and --ann are both {args.ann}.')
    if args.launcher != 'none' and not torch.cuda.is_available():
        sys.exit(f'--launcher {args.launcher} needs GPUs, found none.')
    # In the C locale, names of pictures need not be printable.
    sys.stdout.reconfigure(errors='backslashreplace')
    with tempfile.TemporaryDirectory() as folder:
        try:
            runner, metric = build_runner(args, folder)
            args.out.parent.mkdir(parents=True, exist_ok=True)
        except ValueError as error:
            sys.exit(str(error))
        except OSError as error:
            sys.exit(f'{args.out} cannot be written: {error.strerror}.')
        score = runner.test()
    if not is_main_process():
        return

    images = runner.test_dataloader.dataset.images
    images = list_readable(images, metric.sizes)
    if args.ann is None:
        listed = args.out.with_suffix('.images.json')
        content = dict(images=images, categories=[PERSON])
        write_text(listed, json.dumps(content))
        print(f'{listed}: the {len(images)} images')
    os.replace(f'{args.out}.partial.bbox.json', args.out)
    say_what_is_in(args.out, len(images))
    if not metric.format_only:
        ap, ap50, recall = (score.get(f'coco/bbox_{m}', 0) for m in METRICS)
        print(f'person AP {ap:.3f}, AP50 {ap50:.3f}, AR {recall:.3f}')


if __name__ == '__main__':
    main()
