r"""Give MPII's people the boxes of a detector.

    python tools/dataset_converters/detect_persons.py CONFIG CHECKPOINT \
        --img-root data/mpii/images --out mpii_persons.json
    python tools/dataset_converters/mpii_from_detections.py \
        data/mpii/annotations/mpii_val.json mpii_persons.json

The first file is MPII's annotation as MMPose has it, the second a box file of
the same pictures (MMPose's ``bbox_file``) whose image ids are the numbers in
their names, as in MMPose's MpiiDataset: 15601864 is 015601864.jpg. Writes
mpii_val_det.json beside the first: the same people in the same order, so that
mpii_gt_val.mat still fits, with the detected centre and scale. Who has no
detection keeps MPII's own.

Matching. MPII has joints, but no boxes: a detection is compared with the box
of a person's labelled joints, larger by a tenth on each side because the body
goes on where its joints end. In each picture, every detection goes to one
person at most, so that the sum of IoUs is the largest; an IoU below --iou-thr
is none. Of 120 people in COCO with six labelled keypoints or more, the own
box passes 0.3 for 96 % and a neighbour's for 4 %. Boxes below --score-thr are
left out: among all that a detector proposes, some box fits anybody, and the
labels would choose it.

Scale. MMPose's crop is the box made square, 1.25 times as large, which is
``padding`` of GetBBoxCenterScale in the config. Of MPII's validation part,
upright people with all joints are 0.94 (median) times as high as by MPII's own
scale, and detectors add feet, so that crops agree; all people are 0.78 times
as high, so that those who sit, bend or leave the picture are cropped closer.
"""

import argparse
import json
import sys
from collections import defaultdict
from pathlib import Path
from typing import Dict, List, Optional, Tuple

import numpy as np
import torch
from mmpose.structures.bbox import (
    bbox_overlaps,
    bbox_xywh2xyxy,
    bbox_xyxy2cs,
)
from scipy.optimize import linear_sum_assignment

from mmpose_lossplus.experiments import entries
from mmpose_lossplus.experiments.files import write_text

# The body around its joints, as part of their box.
BORDER = 0.1
# Of MpiiDataset: the unit of a scale, and its shift of a centre downwards.
PIXEL_STD = 200
SHIFT = 15
PERSON = dict(
    image=(
        lambda name: (
            isinstance(name, str) and name.split('.')[0].isdecimal()
        ),
        'the name of a picture such as 015601864.jpg',
    ),
    center=(lambda place: entries.are_numbers(place, 2), 'x and y'),
    scale=(entries.are_numbers, 'a number'),
    joints=(lambda places: entries.are_numbers(places, 16, 2), '16 x and y'),
    joints_vis=(lambda seen: entries.are_numbers(seen, 16), '16 times 0 or 1'),
)
BOX = dict(
    image_id=entries.INTEGER,
    category_id=(
        lambda number: entries.is_integer(number) and number > 0,
        '1 for a person, a greater integer for another category',
    ),
    bbox=(lambda box: entries.are_numbers(box, 4), 'x, y, width and height'),
    score=(entries.are_numbers, 'a number'),
)


def joints_box(person: dict) -> Optional[np.ndarray]:
    """Left, top, right and bottom of labelled joints and their border.

    None if they span no box.
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
    """Match the boxes of people, (N, 4), with those of detections, (M, 4).

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


def place(person: dict, box: np.ndarray) -> dict:
    """Move a person to a box.

    MpiiDataset subtracts 1 from the ``center``, moves it down by 15 scale,
    and takes 200 scale for the side of the square around it.
    """
    (x, y), size = bbox_xyxy2cs(box)
    scale = float(size.max()) / PIXEL_STD
    center = [float(x) + 1, float(y) + 1 - SHIFT * scale]
    return dict(person, center=center, scale=scale)


def convert(
    people: List[dict], detections: Dict[str, np.ndarray], iou_thr: float
) -> Tuple[List[dict], np.ndarray]:
    """Give people the centres and scales of the detections in their picture.

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
    for picture, members in pictures.items():
        index, boxes = zip(*members)
        chosen, overlap = match(np.stack(boxes), detections[picture], iou_thr)
        ious[list(index)] = overlap
        for i, j in zip(index, chosen):
            if j >= 0:
                placed[i] = place(people[i], detections[picture][j])
    return placed, ious


def read_people_and_boxes(
    args: argparse.Namespace,
) -> Tuple[List[dict], Dict[str, np.ndarray]]:
    """MPII's people, and the detected boxes of their pictures."""
    people = entries.load_json(args.annotations)
    entries.check_fields(people, args.annotations, PERSON)
    pictures = {person['image'] for person in people}
    detections = entries.load_json(args.detections)
    entries.check_fields(detections, args.detections, BOX)
    names = {int(picture.split('.')[0]): picture for picture in pictures}
    boxes = defaultdict(list)
    for box in detections:
        counts = box['category_id'] == 1 and box['score'] >= args.score_thr
        if counts and box['image_id'] in names:
            boxes[names[box['image_id']]].append(box['bbox'])
    if not boxes:
        raise ValueError(
            f'{args.detections} has no person (category_id 1) with a score of '
            f'{args.score_thr:g} or more in the {len(pictures)} pictures of '
            f'{args.annotations}. It has the category ids '
            f'{sorted({box["category_id"] for box in detections})} and image '
            f'ids such as {detections[0]["image_id"]}, expected such as '
            f'{min(names)} for {names[min(names)]}.'
        )
    if len(boxes) < len(pictures) / 2:
        print(
            f'Warning: {args.detections} has people with a score of '
            f'{args.score_thr:g} or more in {len(boxes)} of {len(pictures)} '
            'pictures only.',
            file=sys.stderr,
        )
    return people, {
        name: bbox_xywh2xyxy(np.array(found, dtype=float))
        for name, found in boxes.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add('annotations', help="MPII's mpii_train.json, mpii_val.json")
    add('detections', help="people's boxes, MMPose's bbox_file")
    add('--out', type=Path, help='default: the annotations with _det')
    for name, text in (
        ('score', "lowest score of a box, MMPose's for inference"),
        ('iou', 'lowest IoU of a box and a person'),
    ):
        text = f'{text} (default: 0.3)'
        add(f'--{name}-thr', type=float, default=0.3, help=text)
    args = parser.parse_args()
    if not 0 < args.iou_thr <= 1:
        sys.exit(f'--iou-thr is {args.iou_thr}, must be in (0, 1].')
    if args.out is None and '://' in args.annotations:
        sys.exit(f'--out is needed beside {args.annotations}.')
    source = Path(args.annotations)
    out = args.out or source.with_name(f'{source.stem}_det.json')
    if out.resolve() in (source.resolve(), Path(args.detections).resolve()):
        sys.exit(f'--out must be another file than those read, got {out}.')
    try:
        people, boxes = read_people_and_boxes(args)
    except ValueError as error:
        sys.exit(str(error))
    placed, ious = convert(people, boxes, args.iou_thr)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        write_text(out, json.dumps(placed))
    except OSError as error:
        sys.exit(f'{out} cannot be written: {error.strerror}.')
    matched = ious[ious > 0]
    mean = f', mean IoU {matched.mean():.3f}' if len(matched) else ''
    print(
        f'{out}: {len(people)} people, {len(matched)} with a detected box'
        f"{mean}, {len(people) - len(matched)} with MPII's own position and "
        'scale for lack of one'
    )


if __name__ == '__main__':
    main()
