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

A run that was cut off goes on where it was, with the same command. Several
GPUs: torchrun --nproc_per_node 8 (this) --launcher pytorch, or slurm.
"""

import argparse
import contextlib
import glob
import hashlib
import io
import json
import os
import re
import sys
from pathlib import Path
from typing import Any, Dict, List, Optional, Tuple

import cv2
import torch
from mmcv.transforms import Compose
from mmengine.config import Config, ConfigDict
from mmengine.dataset import pseudo_collate
from mmengine.dist import barrier, get_dist_info, init_dist, is_main_process
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import init_default_scope
from mmengine.runner import CheckpointLoader
from mmengine.utils import ProgressBar
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from torch.utils.data import DataLoader, Dataset

try:
    from mmdet.models import BaseDetector
    from mmdet.registry import DATASETS, MODELS
    from mmdet.structures import DetDataSample
    from mmdet.utils import get_test_pipeline_cfg
except ModuleNotFoundError as error:
    sys.exit(f'The detectors are those of MMDet: mim install mmdet ({error}).')

from mmpose_lossplus.experiments.files import write_text
from mmpose_lossplus.experiments.weights import Misfit, load_weights

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


class Images(Dataset):
    """The pictures as a detector's test pipeline packs them.

    Args:
        images (list[dict]): ``id`` and ``file_name`` of each.
        root (Path): Folder of the pictures.
        pipeline (list[dict]): MMDet's transforms; the first loads a picture.
    """

    def __init__(
        self, images: List[dict], root: Path, pipeline: List[dict]
    ) -> None:
        self.images = images
        self.root = root
        self.load, *rest = Compose(pipeline).transforms
        self.prepare = Compose(rest)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Optional[dict]:
        """The packed picture, None if it cannot be read."""
        image = self.images[index]
        path = str(self.root / image['file_name'])
        try:
            data = self.load(dict(img_path=path, img_id=image['id']))
        except (OSError, AssertionError, cv2.error):
            return None
        return self.prepare(data)


def list_folder(root: Path) -> List[dict]:
    """List the pictures of a folder.

    Args:
        root (Path): The folder.

    Returns:
        list[dict]: ``id`` and ``file_name`` of each, by name.
    """
    names = sorted(
        path.name for path in root.iterdir() if path.suffix.lower() in SUFFIXES
    )
    stems = [Path(name).stem for name in names]
    ids = [int(stem) for stem in stems if re.fullmatch('[0-9]+', stem)]
    if len(set(ids)) < len(names):
        ids = range(1, len(names) + 1)
    return [dict(id=id_, file_name=name) for id_, name in zip(ids, names)]


def list_images(root: Path, ann: Optional[Path]) -> Tuple[List[dict], dict]:
    """List the pictures in which to look for people.

    Args:
        root (Path): Folder of the pictures.
        ann (Path, optional): COCO-style annotations.

    Returns:
        tuple[list[dict], dict]: ``id`` and ``file_name`` of each picture, and
        the content of ``ann``, empty if there is none.

    Raises:
        ValueError: If there are no pictures, or ``ann`` is not COCO-style.
    """
    if not root.is_dir():
        raise ValueError(f'--img-root {root} is not a folder.')
    if ann is None:
        images = list_folder(root)
        if not images:
            raise ValueError(
                f'{root} has no pictures ({", ".join(SUFFIXES)}).'
            )
        return images, {}
    try:
        coco = json.loads(ann.read_text())
        images = [
            dict(id=image['id'], file_name=image['file_name'])
            for image in coco['images']
        ]
    except OSError as error:
        raise ValueError(f'{ann} cannot be read: {error.strerror}.') from None
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f'{ann} is not a COCO-style annotation file, whose images have an '
            f'id and a file_name: {error!r}.'
        ) from None
    if len({image['id'] for image in images}) < max(len(images), 1):
        raise ValueError(
            f'{ann} lists {len(images)} images, must be at least 1 and each '
            'once.'
        )
    if not any((root / image['file_name']).exists() for image in images):
        raise ValueError(
            f'None of the {len(images)} images of {ann}, such as '
            f'{images[0]["file_name"]}, is in {root}: correct --img-root.'
        )
    return images, coco


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
            goes. Defaults to the detector's own.

    Raises:
        ValueError: If ``nms_thr`` is given and the detector has no NMS.
    """
    head = test_cfg.get('rcnn', test_cfg)
    if 'score_thr' in head:
        head.score_thr = score_thr
    nms = head.get('nms')
    if not nms:
        if nms_thr is not None:
            raise ValueError(
                f'--nms-thr is {nms_thr}, but the detector has no NMS.'
            )
        return
    if 'max_per_img' in head:
        head.max_per_img = NO_LIMIT
    if 'min_score' in nms:  # of soft NMS
        nms.min_score = score_thr
    if nms_thr is not None:
        nms.iou_threshold = nms_thr


def read_config(
    config: str, score_thr: float, nms_thr: Optional[float]
) -> Config:
    """Read a detector's config and set its thresholds.

    Args:
        config (str): Path of the config.
        score_thr (float): See :func:`set_thresholds`.
        nms_thr (float, optional): See :func:`set_thresholds`.

    Returns:
        Config: The config.

    Raises:
        ValueError: If it cannot be read or is not that of a detector.
    """
    if not os.path.isfile(config):
        raise ValueError(f'The config {config} does not exist.')
    try:
        cfg = Config.fromfile(config)
        get_test_pipeline_cfg(cfg)
        test_cfg = cfg.model.get('test_cfg') or ConfigDict()
    except Exception as error:  # a config is code
        raise ValueError(
            f'{config} is not the config of a detector: {in_one_line(error)}.'
        ) from None
    set_thresholds(test_cfg, score_thr, nms_thr)
    return cfg


def build_detector(
    cfg: Config, checkpoint: str
) -> Tuple[BaseDetector, Tuple[str]]:
    """Build a detector and load its weights.

    Unlike :func:`mmdet.apis.init_detector`, which only warns, this refuses
    weights of another architecture.

    Args:
        cfg (Config): The config.
        checkpoint (str): Path or URL of the weights.

    Returns:
        tuple[BaseDetector, tuple[str]]: The detector in evaluation mode, and
        its classes: the checkpoint's if it names them, or else the config's.

    Raises:
        ValueError: If config or checkpoint are not a detector's, or do not
            fit each other.
    """
    name = cfg.filename
    init_default_scope(cfg.get('default_scope', 'mmdet'))
    try:
        model = revert_sync_batchnorm(MODELS.build(cfg.model))
    except Exception as error:  # whatever the components raise
        raise ValueError(
            f'The model of {name} cannot be built: {in_one_line(error)}.'
        ) from None
    if not isinstance(model, BaseDetector):
        raise ValueError(
            f"{name} is not a detector of MMDet's, its model is "
            f'{type(model).__name__}.'
        )
    try:
        loaded = CheckpointLoader.load_checkpoint(
            checkpoint, map_location='cpu', logger='silent'
        )
        load_weights(model, loaded)
    except FileNotFoundError:
        raise ValueError(
            f'The checkpoint {checkpoint} does not exist.'
        ) from None
    except Misfit as error:
        raise ValueError(
            f'The checkpoint {checkpoint} does not fit {name}: {error}.'
        ) from None
    except Exception as error:  # what unpickling something else raises
        raise ValueError(
            f'{checkpoint} is not a checkpoint: {in_one_line(error)}.'
        ) from None
    meta = loaded.get('meta', {})
    meta = {**meta, **meta.get('dataset_meta', {})}
    classes = meta.get('classes', meta.get('CLASSES'))
    if classes is None:
        dataset = dict(cfg.test_dataloader.dataset, lazy_init=True)
        classes = DATASETS.build(dataset).metainfo.get('classes', ())
    # Boxes do not need the masks, which take long for so many.
    if getattr(getattr(model, 'roi_head', None), 'mask_head', None):
        model.roi_head.mask_head = None
    return model.eval(), tuple(classes)


def in_one_line(error: Exception) -> str:
    """What an exception says, on one line, without its full stop."""
    said = ' '.join(str(error).split()) or type(error).__name__
    return (said if len(said) < 300 else said[:300] + '...').rstrip('.')


def fingerprint(
    cfg: Config, checkpoint: str, images: List[dict], root: Path, **options
) -> str:
    """Of everything that decides which boxes come out."""
    digest = hashlib.sha256()
    content = [
        cfg.model,
        get_test_pipeline_cfg(cfg),
        images,
        str(root.resolve()),
        options,
    ]
    digest.update(json.dumps(content, default=str).encode())
    if os.path.isfile(checkpoint):
        with open(checkpoint, 'rb') as file:
            for block in iter(lambda: file.read(1 << 20), b''):
                digest.update(block)
    else:
        digest.update(checkpoint.encode())
    return digest.hexdigest()


def partial_files(out: Path) -> List[Path]:
    """What the processes of a run that is not done have written."""
    pattern = f'{glob.escape(out.name)}.partial.*'
    return sorted(out.parent.glob(pattern))


def read_partial(path: Path, stamp: str) -> Tuple[Dict[int, list], int]:
    """Read what one process has written before it was cut off.

    Args:
        path (Path): Its file. The first line is the fingerprint of the run;
            each further line is number and content of a batch.
        stamp (str): Fingerprint of this run.

    Returns:
        tuple[dict[int, list], int]: Content of each batch by its number, and
        how many bytes of the file are whole lines.

    Raises:
        ValueError: If the file is of another run.
    """
    batches, size = {}, 0
    with open(path, 'rb') as file:
        for line in file:
            try:
                entry = json.loads(line) if line.endswith(b'\n') else None
            except ValueError:
                entry = None
            if entry is None:  # being written when the run was cut off
                break
            if size == 0 and entry != stamp:
                raise ValueError(
                    f'{path} is of a run with another config, checkpoint, '
                    'image list or options: remove it to begin again.'
                )
            if size > 0:
                batches[entry[0]] = entry[1]
            size += len(line)
    return batches, size


def person_boxes(
    sample: DetDataSample, person: int, score_thr: float, limit: int
) -> List[List[float]]:
    """Take the people out of what a detector found.

    Args:
        sample (DetDataSample): Its prediction for an image.
        person (int): Label of people.
        score_thr (float): Lowest score.
        limit (int): How many boxes at most.

    Returns:
        list[list[float]]: x, y, w, h in pixels and score, highest score first.
        What RTMDet, which pads pictures, finds in the margin is cut off.
    """
    height, width = sample.ori_shape
    found = sample.pred_instances
    found = found[(found.labels == person) & (found.scores >= score_thr)]
    order = (-found.scores.cpu().numpy()).argsort(kind='stable')
    found = found[order[:limit]]
    corners = found.bboxes.clamp(min=0)
    corners = corners.minimum(corners.new_tensor([width, height] * 2))
    boxes = []
    for (x1, y1, x2, y2), score in zip(
        corners.tolist(), found.scores.tolist()
    ):
        box = [round(v, 2) for v in (x1, y1, x2 - x1, y2 - y1)]
        if min(box[2:]) > 0:
            # AP needs the scores' order, which few decimals would blur.
            boxes.append([*box, round(score, 6)])
    return boxes


def detect(
    model: BaseDetector,
    dataset: Images,
    batches: List[List[int]],
    path: Path,
    stamp: str,
    keep: Dict[str, Any],
    num_workers: int,
) -> None:
    """Look for people in all batches that no process has done.

    Args:
        model (BaseDetector): The detector.
        dataset (Images): All pictures.
        batches (list[list[int]]): All batches, as positions in ``dataset``.
        path (Path): The box file to be.
        stamp (str): Fingerprint of the run.
        keep (dict): Arguments of :func:`person_boxes`.
        num_workers (int): Processes that load pictures.
    """
    rank, world_size = get_dist_info()
    mine = Path(f'{path}.partial.{rank}')
    done, size = {}, 0
    for partial in partial_files(path):
        found, length = read_partial(partial, stamp)
        done.update(found)
        size = length if partial == mine else size
    barrier()  # before anybody writes
    todo = [i for i in range(len(batches)) if i not in done]
    if done and is_main_process():
        print(f'{len(done)} of {len(batches)} batches were done before.')
    todo = todo[rank::world_size]
    loader = DataLoader(
        dataset,
        batch_sampler=[batches[i] for i in todo],
        num_workers=num_workers,
        collate_fn=list,
    )
    with open(mine, 'ab') as file, torch.no_grad():
        file.truncate(size)

        def write(entry) -> None:
            file.write(json.dumps(entry).encode() + b'\n')
            file.flush()

        if not size:
            write(stamp)
        if is_main_process() and todo:
            bar = ProgressBar(sum(len(batches[i]) for i in todo))
        for number, items in zip(todo, loader):
            read = [item for item in items if item is not None]
            samples = iter(
                model.test_step(pseudo_collate(read)) if read else ()
            )
            content = []
            for item in items:
                if item is None:
                    content.append(None)
                    continue
                sample = next(samples)
                height, width = sample.ori_shape
                boxes = person_boxes(sample, **keep)
                content.append(dict(size=[width, height], boxes=boxes))
            write([number, content])
            if is_main_process():
                bar.update(len(items))
    if is_main_process():
        print()


def evaluate(coco: dict, boxes: List[dict]) -> str:
    """Person AP of boxes by pycocotools, crowds ignored.

    Args:
        coco (dict): COCO-style annotations.
        boxes (list[dict]): Content of the box file.

    Returns:
        str: A line that says it, or why it cannot be said.
    """
    persons = [
        category['id']
        for category in coco.get('categories', [])
        if category.get('name') == 'person'
    ]
    labels = [
        ann
        for ann in coco.get('annotations', [])
        if ann.get('category_id') in persons
    ]
    needed = {'bbox', 'area', 'iscrowd'}
    if not labels or any(needed - set(ann) for ann in labels):
        return (
            'no person AP: there are no annotations of a category person '
            f'with {", ".join(sorted(needed))}'
        )
    if not boxes:
        return 'person AP 0.000: there are no boxes'
    index = COCO()
    # Until version 2.0.10 pycocotools needs an info, which files may lack.
    index.dataset = {'info': {}, **coco, 'annotations': labels}
    with contextlib.redirect_stdout(io.StringIO()):
        index.createIndex()
        found = index.loadRes(
            [{**box, 'category_id': persons[0]} for box in boxes]
        )
        evaluation = COCOeval(index, found, 'bbox')
        evaluation.params.catIds = persons[:1]
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    ap, ap50, ap75 = evaluation.stats[:3]
    recall = evaluation.stats[8]  # of at most 100 boxes per image
    return (
        f'person AP {ap:.3f}, AP50 {ap50:.3f}, AP75 {ap75:.3f}, '
        f'AR {recall:.3f}'
    )


def thinness(boxes: List[dict], images: int) -> Optional[str]:
    """Why a box file looks too thin for a good pose AP, None if it does not.

    Args:
        boxes (list[dict]): Content of the box file.
        images (int): How many images it is for.

    Returns:
        str: The warning.
    """
    reasons = []
    if len(boxes) < THIN_PER_IMAGE * images:
        reasons.append(
            f'{len(boxes) / images:.1f} boxes per image, and the usual file '
            f'for COCO val2017 has {PUBLISHED_PER_IMAGE:.1f}'
        )
    lowest = min((box['score'] for box in boxes), default=0)
    if lowest >= THIN_SCORE:
        reasons.append(
            f'no score below {lowest:.3f}, and AP needs the people of low '
            'scores, too'
        )
    if not reasons:
        return None
    return (
        f'Warning: the file looks thin ({"; ".join(reasons)}): expect a lower '
        'pose AP, or lower --score-thr, or train the detector longer.'
    )


def finish(
    images: List[dict], coco: dict, batches: List[List[int]], out: Path, stamp
) -> None:
    """Put the parts together, write the box file and say what is in it.

    Args:
        images (list[dict]): All images.
        coco (dict): Their annotations, empty for a folder.
        batches (list[list[int]]): All batches, as positions in ``images``.
        out (Path): The box file.
        stamp (str): Fingerprint of the run.

    Raises:
        ValueError: If no image could be read.
    """
    done = {}
    for partial in partial_files(out):
        done.update(read_partial(partial, stamp)[0])
    found = [
        (images[index], entry)
        for number, batch in enumerate(batches)
        for index, entry in zip(batch, done[number])
    ]
    bad = [image['file_name'] for image, entry in found if entry is None]
    found = [(image, entry) for image, entry in found if entry is not None]
    if not found:
        for partial in partial_files(out):
            partial.unlink()
        raise ValueError(
            f'None of the {len(bad)} pictures can be read, such as {bad[0]}.'
        )
    boxes = [
        dict(
            image_id=image['id'],
            category_id=PERSON['id'],
            bbox=box[:4],
            score=box[4],
        )
        for image, entry in found
        for box in entry['boxes']
    ]
    if not coco:
        listed = [
            dict(image, width=entry['size'][0], height=entry['size'][1])
            for image, entry in found
        ]
        beside = out.with_suffix('.images.json')
        write_text(
            beside, json.dumps(dict(images=listed, categories=[PERSON]))
        )
        print(f'{beside}: the {len(listed)} images')
    write_text(out, json.dumps(boxes))
    for partial in partial_files(out):
        partial.unlink()

    counts = [len(entry['boxes']) for _, entry in found]
    scores = [box['score'] for box in boxes] or [0]
    print(
        f'{out}: {len(boxes)} boxes in {len(found)} images, '
        f'{len(boxes) / len(found):.1f} per image, {counts.count(0)} images '
        f'without, scores {min(scores):.3f} to {max(scores):.3f}, '
        f'{out.stat().st_size / 1e6:.2f} MB'
    )
    if bad:
        more = ', ...' if len(bad) > 5 else ''
        print(
            f'{len(bad)} of {len(images)} images could not be read and have '
            f'no boxes: {", ".join(bad[:5])}{more}'
        )
    print(evaluate(coco, boxes))
    warning = thinness(boxes, len(found))
    if warning:
        print(warning)


def run(args: argparse.Namespace) -> None:
    """Do what the command line says.

    Args:
        args (Namespace): The command line.

    Raises:
        ValueError: If the input is bad.
        OSError: If the output cannot be written.
    """
    # MMPose knows the format by the name.
    if args.out.suffix != '.json' or args.out.is_dir():
        raise ValueError(f'--out is {args.out}, must be a file FILE.json.')
    if args.ann and args.ann.resolve() == args.out.resolve():
        raise ValueError(f'--out and --ann are both {args.ann}.')
    for name, low, high in (
        ('score_thr', 0, 1),
        ('nms_thr', 0, 1),
        ('max_per_img', 1, float('inf')),
        ('batch_size', 1, float('inf')),
        ('num_workers', 0, float('inf')),
    ):
        value = getattr(args, name)
        if value is not None and not low <= value <= high:
            option = name.replace('_', '-')
            raise ValueError(
                f'--{option} is {value}, must be in [{low}, {high}].'
            )
    images, coco = list_images(args.img_root, args.ann)
    cfg = read_config(args.config, args.score_thr, args.nms_thr)
    model, classes = build_detector(cfg, args.checkpoint)
    if PERSON['name'] not in classes:
        named = ', '.join(map(str, classes[:5]))
        raise ValueError(
            f'The detector of {args.config} has no class person among its '
            f'{len(classes)}: {named}{", ..." if len(classes) > 5 else ""}.'
        )
    try:
        model.to(args.device)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(
            f'--device {args.device} cannot be used: '
            f'{in_one_line(error).split(".")[0]}.'
        ) from None

    batch_size = args.batch_size or cfg.test_dataloader.get('batch_size', 1)
    every = range(0, len(images), batch_size)
    numbers = list(range(len(images)))
    batches = [numbers[i : i + batch_size] for i in every]
    keep = dict(
        person=classes.index(PERSON['name']),
        score_thr=args.score_thr,
        limit=args.max_per_img,
    )
    stamp = fingerprint(
        cfg,
        args.checkpoint,
        images,
        args.img_root,
        batch_size=batch_size,
        device=torch.device(args.device).type,
        **keep,
    )
    dataset = Images(images, args.img_root, get_test_pipeline_cfg(cfg))
    args.out.parent.mkdir(parents=True, exist_ok=True)
    detect(model, dataset, batches, args.out, stamp, keep, args.num_workers)
    barrier()
    if is_main_process():
        finish(images, coco, batches, args.out, stamp)


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
        '--img-root', type=Path, required=True, help='folder of the pictures'
    )
    parser.add_argument('--ann', type=Path, help='COCO-style annotations')
    parser.add_argument(
        '--device', help='default: the GPU if there is one, else cpu'
    )
    parser.add_argument(
        '--score-thr',
        type=float,
        default=0.001,
        help='lowest score (default: 0.001)',
    )
    parser.add_argument(
        '--nms-thr', type=float, help="IoU of NMS (default: detector's own)"
    )
    parser.add_argument(
        '--max-per-img',
        type=int,
        default=100,
        help="people per image (default: 100, as in COCO's box AP)",
    )
    parser.add_argument(
        '--batch-size', type=int, help="default: that of the config's test"
    )
    parser.add_argument(
        '--num-workers',
        type=int,
        default=2,
        help='processes that load pictures (default: 2)',
    )
    parser.add_argument(
        '--launcher',
        choices=['none', 'pytorch', 'slurm', 'mpi'],
        default='none',
        help='job launcher for several GPUs',
    )
    args = parser.parse_args()
    if args.launcher != 'none':
        if not torch.cuda.is_available():
            sys.exit(f'--launcher {args.launcher} needs GPUs, found none.')
        init_dist(args.launcher)
    if args.device is None:
        # Under a launcher, 'cuda' is the GPU of the process.
        args.device = 'cuda' if torch.cuda.is_available() else 'cpu'
    try:
        run(args)
    except ValueError as error:
        sys.exit(str(error))
    except OSError as error:
        sys.exit(f'{args.out} cannot be written: {in_one_line(error)}.')
    except KeyboardInterrupt:
        sys.exit('Cut off; the same command goes on from here.')


if __name__ == '__main__':
    main()
