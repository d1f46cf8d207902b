r"""Give MPII's people the boxes of a detector.

    python tools/dataset_converters/detect_persons.py CONFIG CHECKPOINT \
        --img-root data/mpii/images --out mpii_persons.json
    python tools/dataset_converters/mpii_from_detections.py \
        data/mpii/annotations/mpii_val.json mpii_persons.json

The first file is MPII's annotation as MMPose has it, the second a box file of
the same pictures (MMPose's ``bbox_file``), with the number in a picture's name
as its image id (015601864.jpg is 15601864, as in MMPose's MpiiDataset) or with
the ids of the COCO-style file that --images names. Writes mpii_val_det.json
beside the first: the same people in the same order, so that mpii_gt_val.mat
still fits, with the detected centre and scale. Who has no detection keeps
MPII's own.

Matching. MPII has joints, but no boxes: a detection is compared with the box
of a person's labelled joints, larger by a tenth on each side because the body
goes on where its joints end. In each picture, every detection goes to one
person at most, so that the sum of IoUs is the largest; an IoU below --iou-thr
is none. Of 120 people in COCO with six labelled keypoints or more, the own
box passes 0.3 for 96 % and a neighbour's for 4 %. Boxes below --score-thr are
left out: among all that a detector proposes, some box fits anybody, and the
labels would choose it. People whose joints span no box, such as all of
mpii_test.json, keep MPII's position and scale.

Scale. With --margin 1 the crop is that of MMPose for a box file: the box made
square, 1.25 times as large (GetBBoxCenterScale). MPII's own scale stands for
the person's height when upright. In MPII's validation part, the box of all 16
joints is 0.94 (median) times 200 scale high if the person is upright, and
detectors add feet, so that the crops agree; for everybody it is 0.78, so that
people who sit, bend or leave the picture are cropped closer than by MPII.
"""

import argparse
import json
import os
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any, Dict, List, Optional, Tuple

import numpy as np
import torch
from mmpose.structures.bbox import (
    bbox_overlaps,
    bbox_xywh2xyxy,
    bbox_xyxy2cs,
)
from scipy.optimize import linear_sum_assignment

# The body around its joints, as part of their box.
BORDER = 0.1
# Of MpiiDataset: the unit of a scale, and its shift of a centre downwards.
PIXEL_STD = 200
SHIFT = 15


def load(file: Path, expected: str) -> Any:
    """Load a JSON file."""
    try:
        return json.loads(file.read_text())
    except (OSError, ValueError) as error:
        sys.exit(f'{file} cannot be read ({error}), expected {expected}.')


def image_id(picture: str) -> int:
    """The number in a picture's name, which is its id in MpiiDataset."""
    return int(picture.split('.')[0])


def load_people(file: Path) -> List[dict]:
    """Load and check MPII's annotation in MMPose's format."""
    expected = (
        "MPII's annotation in MMPose's format, a list of people with image, "
        'center, scale, joints and joints_vis'
    )
    people = load(file, expected)
    if not isinstance(people, list) or not people:
        sys.exit(f'{file} is no list of people, expected {expected}.')
    for i, person in enumerate(people):
        try:
            image_id(person['image'])
            joints = np.array(person['joints'], dtype=float)
            center = np.array(person['center'], dtype=float)
            valid = (
                joints.shape == (len(person['joints_vis']), 2)
                and center.shape == (2,)
                and np.isfinite([*joints.ravel(), *center]).all()
                and np.isfinite(float(person['scale']))
            )
        except (AttributeError, KeyError, TypeError, ValueError):
            valid = False
        if not valid:
            sys.exit(f'Entry {i} of {file} is no person, expected {expected}.')
    return people


def load_names(file: Path) -> Dict[int, str]:
    """Load the pictures' names by image id from a COCO-style file."""
    expected = 'a COCO-style file whose images have id and file_name'
    try:
        return {
            image['id']: Path(image['file_name']).name
            for image in load(file, expected)['images']
        }
    except (KeyError, TypeError):
        sys.exit(f'{file} lists no images, expected {expected}.')


def load_detections(
    file: Path, score_thr: float
) -> Tuple[Dict[int, np.ndarray], int]:
    """Load the people's boxes from a box file.

    Args:
        file (Path): MMPose's ``bbox_file``, a list of dicts with
            ``image_id``, ``category_id``, ``bbox`` (x, y, w, h) and
            ``score``.
        score_thr (float): Lowest score of a box that counts.

    Returns:
        tuple[dict[int, np.ndarray], int]: Left, top, right and bottom in
        pixels by image id, of shape (boxes, 4); and some image id of the
        file.
    """
    expected = (
        "MMPose's bbox_file, a list of boxes with image_id, category_id, "
        'bbox (x, y, w, h) and score'
    )
    entries = load(file, expected)
    if not isinstance(entries, list) or not entries:
        sys.exit(f'{file} is no list of boxes, expected {expected}.')
    boxes = defaultdict(list)
    for i, entry in enumerate(entries):
        try:
            image = int(entry['image_id'])
            score = float(entry['score'])
            box = np.array(entry['bbox'], dtype=float)
            person = entry['category_id'] == 1
            valid = box.shape == (4,) and np.isfinite([score, *box]).all()
        except (KeyError, TypeError, ValueError):
            valid = False
        if not valid:
            sys.exit(f'Entry {i} of {file} is no box, expected {expected}.')
        if person and score >= score_thr:
            boxes[image].append(box)
    stacked = {i: bbox_xywh2xyxy(np.stack(b)) for i, b in boxes.items()}
    return stacked, image


def joints_box(person: dict) -> Optional[np.ndarray]:
    """The box of a person's labelled joints and their border.

    Args:
        person (dict): MPII's annotation.

    Returns:
        np.ndarray | None: Left, top, right and bottom, if the joints span a
        box.
    """
    labelled = np.array(person['joints_vis']) > 0
    points = np.array(person['joints'], dtype=float)[labelled]
    if not len(points):
        return None
    low, high = points.min(axis=0), points.max(axis=0)
    border = BORDER * (high - low)
    return np.r_[low - border, high + border] if border.all() else None


def match(
    people: np.ndarray, detections: np.ndarray, iou_thr: float
) -> Tuple[np.ndarray, np.ndarray]:
    """Match the people of a picture with its detections, one to one.

    Args:
        people (np.ndarray): The people's boxes of shape (N, 4), as left, top,
            right, bottom.
        detections (np.ndarray): The detected boxes of shape (M, 4).
        iou_thr (float): Lowest IoU of a match, above 0.

    Returns:
        tuple[np.ndarray, np.ndarray]: The detection of each person, -1 for
        none, and their IoU, 0 for none; of shape (N,) each.
    """
    iou = bbox_overlaps(
        torch.from_numpy(people), torch.from_numpy(detections)
    ).numpy()
    # Before the assignment, which could give up a match for two of these.
    iou = np.where(iou >= iou_thr, iou, 0)
    chosen = np.full(len(people), -1)
    overlap = np.zeros(len(people))
    for i, j in zip(*linear_sum_assignment(iou, maximize=True)):
        if iou[i, j] > 0:
            chosen[i], overlap[i] = j, iou[i, j]
    return chosen, overlap


def place(person: dict, box: np.ndarray, margin: float) -> dict:
    """Move a person to a box.

    Args:
        person (dict): MPII's annotation.
        box (np.ndarray): Left, top, right and bottom.
        margin (float): Side of the square around the box as part of its
            longer side.

    Returns:
        dict: The annotation with the ``center`` and ``scale`` from which
        MpiiDataset, which subtracts 1 from the centre and moves it down by 15
        scale, gets the box's centre and 200 scale, the side of the square.
    """
    (x, y), size = bbox_xyxy2cs(box, padding=margin)
    scale = float(size.max()) / PIXEL_STD
    center = [float(x) + 1, float(y) + 1 - SHIFT * scale]
    return dict(person, center=center, scale=scale)


def convert(
    people: List[dict],
    detections: Dict[str, np.ndarray],
    iou_thr: float,
    margin: float = 1,
) -> Tuple[List[dict], np.ndarray]:
    """Give people the centres and scales of their detections.

    Args:
        people (list[dict]): MPII's annotation.
        detections (dict[str, np.ndarray]): Detected boxes by picture, as
            left, top, right, bottom, of shape (boxes, 4).
        iou_thr (float): See :func:`match`.
        margin (float): See :func:`place`. Defaults to 1.

    Returns:
        tuple[list[dict], np.ndarray]: The people in the same order; and the
        IoU of each with the detection, 0 for those who have none and are as
        they were.
    """
    pictures = defaultdict(list)
    for i, person in enumerate(people):
        box = joints_box(person)
        if box is not None and person['image'] in detections:
            pictures[person['image']].append((i, box))
    placed, ious = list(people), np.zeros(len(people))
    for picture, entries in pictures.items():
        index, boxes = zip(*entries)
        chosen, overlap = match(np.stack(boxes), detections[picture], iou_thr)
        ious[list(index)] = overlap
        for i, j in zip(index, chosen):
            if j >= 0:
                box = detections[picture][j]
                placed[i] = place(people[i], box, margin)
    return placed, ious


def by_picture(
    args: argparse.Namespace, pictures: List[str]
) -> Dict[str, np.ndarray]:
    """The detected boxes by the names of the pictures that have some."""
    boxes, example = load_detections(args.detections, args.score_thr)
    if args.images is None:
        names = {image_id(picture): picture for picture in pictures}
    else:
        names = load_names(args.images)
        unknown = [image for image in boxes if image not in names]
        if unknown:
            sys.exit(
                f'{args.images} does not list the image id {unknown[0]} of '
                f'{args.detections}.'
            )
    wanted = set(pictures)
    found = {
        names[image]: detected
        for image, detected in boxes.items()
        if names.get(image) in wanted
    }
    if not found:
        hint = (
            ''
            if args.images
            else f'; its image ids are such as {example}, expected '
            f'{image_id(pictures[0])} for {pictures[0]} or --images'
        )
        sys.exit(
            f'{args.detections} has no person with a score of '
            f'{args.score_thr:g} or more in the {len(wanted)} pictures of '
            f'{args.annotations}{hint}.'
        )
    if len(found) < len(wanted) / 2:
        print(
            f'Warning: {args.detections} has people with a score of '
            f'{args.score_thr:g} or more in {len(found)} of {len(wanted)} '
            'pictures only.',
            file=sys.stderr,
        )
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        'annotations', type=Path, help="MPII's mpii_train.json, mpii_val.json"
    )
    parser.add_argument(
        'detections', type=Path, help="people's boxes, MMPose's bbox_file"
    )
    parser.add_argument(
        '--images',
        type=Path,
        help='COCO-style file with the names that belong to the image ids of '
        "the box file (default: the ids are the names' numbers)",
    )
    parser.add_argument(
        '--out',
        type=Path,
        help='file to write (default: the annotations with _det at the end '
        'of the name)',
    )
    parser.add_argument(
        '--score-thr',
        type=float,
        default=0.3,
        help="lowest score of a box, by default MMPose's for inference "
        '(default: 0.3)',
    )
    parser.add_argument(
        '--iou-thr',
        type=float,
        default=0.3,
        help='lowest IoU of a box and a person (default: 0.3)',
    )
    parser.add_argument(
        '--margin',
        type=float,
        default=1,
        help='factor on the boxes, before the 1.25 of MMPose (default: 1)',
    )
    args = parser.parse_args()
    if not 0 < args.iou_thr <= 1:
        sys.exit(
            f'--iou-thr must be above 0 and at most 1, got {args.iou_thr}.'
        )
    if not 0 < args.margin < np.inf:
        sys.exit(f'--margin must be finite and above 0, got {args.margin}.')
    source = args.annotations
    out = args.out or source.with_name(f'{source.stem}_det.json')
    if out.resolve() in (source.resolve(), args.detections.resolve()):
        sys.exit(f'--out must be another file than those read, got {out}.')
    if out.is_dir():
        sys.exit(f'--out must be a file, but {out} is a folder.')

    people = load_people(source)
    pictures = sorted({person['image'] for person in people})
    detections = by_picture(args, pictures)
    placed, ious = convert(people, detections, args.iou_thr, args.margin)
    matched = np.flatnonzero(ious)
    partial = out.with_name(f'{out.name}.partial')
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(json.dumps(placed))
        os.replace(partial, out)
    except OSError as error:
        sys.exit(f'{out} cannot be written ({error}).')
    print(
        f'{out}: {len(people)} people in {len(pictures)} pictures, '
        f'{len(matched)} with a detected box, '
        f"{len(people) - len(matched)} with MPII's own position and scale for "
        'lack of one'
    )
    if len(matched):
        new, own = (
            np.median([PIXEL_STD * entries[i]['scale'] for i in matched])
            for entries in (placed, people)
        )
        print(
            f"Of the {len(matched)}: mean IoU with the joints' box "
            f'{ious[matched].mean():.3f}, median side {new:.1f} pixels '
            f"({own:.1f} by MPII's own)"
        )


if __name__ == '__main__':
    main()
