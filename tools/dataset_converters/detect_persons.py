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
one that comes after all others costs little. So --score-thr goes into the
detector itself, whose own threshold is often 0.05. Ctrl-C and SIGTERM keep the
boxes of the images that are done, as FILE.part.json.

Several GPUs: torchrun --nproc_per_node 8 (this) --launcher pytorch, or slurm.
"""

import argparse
import io
import json
import os
import re
import signal
import sys
import tempfile
from contextlib import redirect_stdout
from pathlib import Path
from typing import Dict, List, Optional, Sequence, Tuple

import cv2
import numpy as np
import torch
from mmcv.transforms import Compose
from mmengine.config import Config, ConfigDict
from mmengine.dist import get_world_size, is_main_process
from mmengine.evaluator import Evaluator
from mmengine.fileio import get, join_path, list_dir_or_file
from mmengine.hooks import Hook
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from torch.utils.data import Dataset

try:
    from mmdet.evaluation import CocoMetric
    from mmdet.models import BaseDetector
    from mmdet.registry import DATASETS, MODELS
    from mmdet.utils import get_test_pipeline_cfg
except ModuleNotFoundError as error:
    sys.exit(f'The detectors are those of MMDet: mim install mmdet ({error}).')

from mmpose_lossplus.experiments import entries
from mmpose_lossplus.experiments.files import (
    PICTURES,
    is_cut_off,
    name_in_utf8,
    write_text,
)
from mmpose_lossplus.experiments.progress import track
from mmpose_lossplus.experiments.weights import (
    exit_on_misfit,
    load_weights,
    read_checkpoint,
    summary,
)

PERSON = dict(id=1, name='person')
METRICS = ['mAP', 'mAP_50', 'AR@100']
# A detector's own limit, for which all classes compete, is lifted to this.
NO_LIMIT = 100000
# 104125 boxes for the 5000 images of val2017 are in the file of AP 56.4, see
# https://github.com/microsoft/human-pose-estimation.pytorch/issues/97. That a
# quarter of it is too few, and 0.05 too high for the lowest score (where
# MMDet's two-stage detectors cut by default), are our own rules of thumb.
PUBLISHED_PER_IMAGE = 104125 / 5000
THIN_PER_IMAGE = PUBLISHED_PER_IMAGE / 4
THIN_SCORE = 0.05


class Pictures(Dataset):
    """The pictures as a detector's test pipeline packs them.

    In place of one that cannot be read stands ``blank`` with the size 0, so
    that its batch stays whole and nothing is found in it.
    """

    metainfo = dict(classes=(PERSON['name'],))

    def __init__(
        self, images: List[dict], root: str, pipeline: List[dict], blank: str
    ) -> None:
        self.images, self.root, self.blank = images, root, blank
        self.load, *rest = Compose(pipeline).transforms
        self.pack = Compose(rest)

    def __len__(self) -> int:
        return len(self.images)

    def read(self, image: dict) -> Optional[dict]:
        path = join_path(self.root, image['file_name'])
        try:
            if is_cut_off(get(path, getattr(self.load, 'backend_args', None))):
                return None
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
    """MMDet's writer of boxes, and their AP, for the label of people alone.

    Of each image, the best ``limit`` boxes not below ``score_thr``.
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
        self.sizes = {
            image['img_id']: dict(width=image['width'], height=image['height'])
            for image, _ in results
        }
        return super().compute_metrics(results)


class ProgressHook(Hook):
    """Tells how many batches are done."""

    def before_test_epoch(self, runner: Runner) -> None:
        self.batches = track(range(len(runner.test_dataloader)), 'Batches')
        next(self.batches)

    def after_test_iter(self, *args, **kwargs) -> None:
        next(self.batches, None)


def list_folder(root: str) -> List[dict]:
    """List the pictures of a folder: ``id`` and ``file_name``, by name."""
    try:
        files = list_dir_or_file(root, list_dir=False)
        names = sorted(f for f in files if f.lower().endswith(PICTURES))
    except OSError as error:
        raise ValueError(f'{root} is no folder: {error.strerror}.') from None
    if not names:
        raise ValueError(f'{root} has no pictures ({", ".join(PICTURES)}).')
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
    coco, images = entries.read_images(file)
    if not coco.get('annotations'):
        return images, []
    categories = dict(id=entries.INTEGER, name=entries.NAME)
    entries.check_fields(
        coco.get('categories'), f'categories in {file}', categories
    )
    names = {c['id']: c['name'] for c in coco['categories']}
    known = {image['id'] for image in images}
    fields = dict(
        image_id=(
            lambda value: entries.is_integer(value) and value in known,
            'the id of an image in the file',
        ),
        category_id=(
            lambda value: entries.is_integer(value) and value in names,
            f'one of {sorted(names)}',
        ),
        bbox=(
            lambda box: entries.are_numbers(box, 4) and min(box[2:]) >= 0,
            'finite x, y, width and height',
        ),
        iscrowd=(lambda crowd: crowd in (None, 0, 1), '0 or 1'),
    )
    labels = coco['annotations']
    entries.check_fields(labels, f'annotations in {file}', fields)
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


def read_detector_config(path: str, score_thr: float) -> Config:
    """Read a detector's config and make it keep low scores.

    Two-stage detectors have their thresholds in ``rcnn``. Detectors without
    NMS, such as DETR, have none: their limit is that of the queries and stays.
    """
    try:
        cfg = Config.fromfile(path)
        get_test_pipeline_cfg(cfg)
        test_cfg = cfg.model.get('test_cfg') or ConfigDict()
    except Exception as error:  # a config is code
        raise ValueError(
            f'{path} is not the config of a detector: {summary(error)}.'
        ) from None
    head = test_cfg.get('rcnn', test_cfg)
    if 'score_thr' in head:
        head.score_thr = score_thr
    nms = head.get('nms')
    if nms and 'max_per_img' in head:
        head.max_per_img = NO_LIMIT
    if nms and 'min_score' in nms:  # of soft NMS
        nms.min_score = score_thr
    return cfg


def build_detector(cfg: Config, checkpoint: str) -> Tuple[BaseDetector, int]:
    """Build a detector with all of its weights, and find its label of people.

    If a checkpoint names no classes, they are the config's.
    """
    name = cfg.filename
    init_default_scope(cfg.get('default_scope') or 'mmdet')
    try:
        model = revert_sync_batchnorm(MODELS.build(cfg.model))
    except Exception as error:  # whatever the components raise
        raise ValueError(
            f'The model of {name} cannot be built: {summary(error)}.'
        ) from None
    if not isinstance(model, BaseDetector):
        raise ValueError(f'{name} is no detector but {type(model).__name__}.')
    with exit_on_misfit(checkpoint, name):
        loaded = read_checkpoint(checkpoint)
        load_weights(model, loaded)
    # Boxes do not need the masks, which take long for so many.
    if getattr(getattr(model, 'roi_head', None), 'mask_head', None):
        model.roi_head.mask_head = None

    meta = loaded.get('meta', {})
    meta = {**meta, **meta.get('dataset_meta', {})}
    classes = meta.get('classes', meta.get('CLASSES'))
    if classes is None:
        dataset = dict(cfg.test_dataloader.dataset, lazy_init=True)
        classes = DATASETS.build(dataset).metainfo.get('classes', ())
    if PERSON['name'] not in classes:
        raise ValueError(
            f'The detector of {name} has no class person among its '
            f'{len(classes)}: {", ".join(classes[:5])}.'
        )
    return model, list(classes).index(PERSON['name'])


def build_runner(
    args: argparse.Namespace, folder: str
) -> Tuple[Runner, PersonBoxes]:
    """Build MMEngine's runner of a test, and the metric that writes the boxes.

    All that the command line names is read here, so that faults are said
    before the detection. The folder is for what is not kept.
    """
    people = []
    if args.ann is None:
        images = list_folder(args.img_root)
    else:
        images, people = read_annotations(args.ann)
    cfg = read_detector_config(args.config, args.score_thr)
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
        default_hooks=dict(logger=None),
        launcher=args.launcher,
        env_cfg=cfg.get('env_cfg') or dict(dist_cfg=dict(backend='nccl')),
        log_level='WARNING',
    )
    if is_main_process():
        runner.register_hook(ProgressHook())
    return runner, metric


def keep_what_is_done(metric: PersonBoxes, out: Path) -> str:
    """Write the boxes of a detection that was stopped, and say where."""
    done = f'Stopped after {len(metric.results)} images'
    if not metric.results or get_world_size() > 1:
        return f'{done}: no boxes were written.'
    part = out.with_suffix('.part.json')
    metric.format_only = True
    metric.compute_metrics(metric.results)
    os.replace(f'{out}.partial.bbox.json', part)
    return f'{done}, whose boxes are in {part}: the rest is missing.'


def say_what_is_in(out: Path, images: int) -> None:
    """Print what the box file of so many images has, and if it looks thin."""
    boxes = json.loads(out.read_text(encoding='utf-8'))
    scores = [box['score'] for box in boxes] or [0]
    average = len(boxes) / images
    without = images - len({box['image_id'] for box in boxes})
    print(
        f'{out}: {len(boxes)} boxes in {images} images, {average:.1f} per '
        f'image, {without} images without, scores {min(scores):.3f} to '
        f'{max(scores):.3f}, {out.stat().st_size / 1e6:.2f} MB'
    )
    if average < THIN_PER_IMAGE or min(scores) >= THIN_SCORE:
        print(
            f'Warning: the file looks thin, expect a lower pose AP. The usual '
            f'file for COCO val2017 has {PUBLISHED_PER_IMAGE:.1f} boxes per '
            f'image, and AP needs scores below {THIN_SCORE}, too: lower '
            '--score-thr, or train the detector longer.'
        )


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add('config', help="detector's config, as of MMDet")
    add('checkpoint', help='its weights, a path or a URL')
    add('--out', type=Path, required=True, help='FILE.json to write')
    text = 'replace FILE.json, if it is there'
    add('--overwrite', action='store_true', help=text)
    add('--img-root', required=True, help='folder of the pictures')
    add('--ann', help='COCO-style annotations')
    text = 'lowest score (default: 0.001)'
    add('--score-thr', type=float, default=0.001, help=text)
    text = "people per image (default: 100, as in COCO's box AP)"
    add('--max-per-img', type=int, default=100, help=text)
    add('--batch-size', type=int, help="default: that of the config's test")
    add('--num-workers', type=int, default=2, help='default: %(default)s')
    launchers = ['none', 'pytorch', 'slurm', 'mpi']
    add('--launcher', choices=launchers, default='none', help='several GPUs')
    args = parser.parse_args()
    if not 0 <= args.score_thr <= 1:
        parser.error(f'--score-thr is {args.score_thr}, must be in [0, 1].')
    for name in ('max_per_img', 'batch_size'):
        number = getattr(args, name)
        if number is not None and number < 1:
            option = name.replace('_', '-')
            parser.error(f'--{option} is {number}, must be 1 or more.')
    # MMPose knows the format by the name.
    if args.out.suffix != '.json' or args.out.is_dir():
        sys.exit(f'--out is {args.out}, must be a file FILE.json.')
    if args.ann and os.path.realpath(args.ann) == os.path.realpath(args.out):
        sys.exit(f'--out and --ann are both {args.ann}.')
    if args.out.exists() and not args.overwrite:
        sys.exit(
            f'--out {args.out} is there: name another, or add --overwrite.'
        )
    if args.launcher != 'none' and not torch.cuda.is_available():
        sys.exit(f'--launcher {args.launcher} needs GPUs, found none.')
    return args


def main() -> None:
    args = parse_args()
    # In the C locale, names of pictures need not be printable.
    sys.stdout.reconfigure(errors='backslashreplace')
    with (
        tempfile.TemporaryDirectory() as folder,
        redirect_stdout(io.StringIO()),  # pycocotools prints all its steps
    ):
        try:
            runner, metric = build_runner(args, folder)
            args.out.parent.mkdir(parents=True, exist_ok=True)
        except ValueError as error:
            sys.exit(str(error))
        except OSError as error:
            sys.exit(f'{args.out} cannot be written: {error.strerror}.')
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C
        try:
            score = runner.test()
        except KeyboardInterrupt:
            sys.exit(keep_what_is_done(metric, args.out))
    if not is_main_process():
        return

    images = runner.test_dataloader.dataset.images
    images = [dict(image, **metric.sizes[image['id']]) for image in images]
    bad = [image['file_name'] for image in images if not image['width']]
    if bad:
        print(
            f'{len(bad)} of {len(images)} images could not be read and have '
            f'no boxes: {", ".join(bad[:5])}{", ..." if bad[5:] else ""}'
        )
    images = [image for image in images if image['width']]
    if args.ann is None:
        listed = args.out.with_suffix('.images.json')
        for image in images:
            image['file_name'] = name_in_utf8(image['file_name'])
        content = dict(images=images, categories=[PERSON])
        write_text(listed, json.dumps(content))
        print(f'{listed}: the {len(images)} images')
    os.replace(f'{args.out}.partial.bbox.json', args.out)
    say_what_is_in(args.out, len(images))
    if metric.format_only:
        print('no person AP: there are no annotated persons')
    else:
        ap, ap50, recall = (score.get(f'coco/bbox_{m}', 0) for m in METRICS)
        print(f'person AP {ap:.3f}, AP50 {ap50:.3f}, AR {recall:.3f}')


if __name__ == '__main__':
    main()
