"""Draw labels beside predictions, people from a dump of tools/test.py."""

import argparse
import sys
from pathlib import Path
from typing import List

import cv2
import mmengine
import mmpose
import numpy as np
from mmengine.structures import InstanceData
from mmpose.datasets.datasets.utils import parse_pose_metainfo
from mmpose.structures import PoseDataSample
from mmpose.visualization import PoseLocalVisualizer

MARGIN = 0.15  # of the box, on each side
CAPTION = 28


def draw_person(
    visualizer: PoseLocalVisualizer, sample: dict, height: int
) -> np.ndarray:
    """Draw one person twice, with labels and with predictions.

    Args:
        visualizer (PoseLocalVisualizer): With the data set's skeleton.
        sample (dict): An entry of the dump.
        height (int): Of the picture, in pixels.

    Returns:
        np.ndarray: RGB picture (height, 2 * width, 3).
    """
    image = mmengine.fileio.get(sample['img_path'])
    image = cv2.imdecode(np.frombuffer(image, np.uint8), cv2.IMREAD_COLOR)
    image = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
    x, y, w, h = sample['raw_ann_info']['bbox']
    left, top = max(int(x - MARGIN * w), 0), max(int(y - MARGIN * h), 0)
    right, bottom = int(x + (1 + MARGIN) * w), int(y + (1 + MARGIN) * h)
    crop = image[top:bottom, left:right]
    scale = height / crop.shape[0]
    width = round(crop.shape[1] * scale)
    crop = cv2.resize(crop, (width, height), interpolation=cv2.INTER_CUBIC)

    def to_crop(keypoints: np.ndarray) -> np.ndarray:
        return (keypoints[..., :2] - (left, top)) * scale

    labels = np.array(sample['raw_ann_info']['keypoints']).reshape(1, -1, 3)
    predicted = np.asarray(sample['pred_instances']['keypoints'])
    drawn = PoseDataSample(
        gt_instances=InstanceData(
            keypoints=to_crop(labels), keypoints_visible=labels[..., 2] > 0
        ),
        pred_instances=InstanceData(
            keypoints=to_crop(predicted),
            keypoint_scores=np.ones(predicted.shape[:2]),
        ),
    )
    visualizer.line_width, visualizer.radius = 2, 4
    return visualizer.add_datasample(
        'person', crop, drawn, draw_bbox=False, kpt_thr=0.5
    )


def contact_sheet(
    pictures: List[np.ndarray], captions: List[str], columns: int
) -> np.ndarray:
    """Lay pictures of one height out in rows, each under its caption."""
    width = max(picture.shape[1] for picture in pictures)
    height = pictures[0].shape[0] + CAPTION
    rows = -(-len(pictures) // columns)
    sheet = np.full((rows * height, columns * width, 3), 255, np.uint8)
    for i, (picture, caption) in enumerate(zip(pictures, captions)):
        row, column = divmod(i, columns)
        top = row * height + CAPTION
        left = column * width + (width - picture.shape[1]) // 2
        sheet[top : top + picture.shape[0], left : left + picture.shape[1]] = (
            picture
        )
        cv2.putText(
            sheet,
            caption,
            (column * width + 8, top - 8),
            cv2.FONT_HERSHEY_SIMPLEX,
            0.5,
            (60, 60, 60),
            1,
            cv2.LINE_AA,
        )
    return sheet


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('dump', help='what tools/test.py --dump wrote')
    parser.add_argument('out', help='picture to write')
    parser.add_argument('--dataset', default='coco', help='default: coco')
    parser.add_argument(
        '--people', type=int, default=12, help='how many (default: 12)'
    )
    parser.add_argument(
        '--columns', type=int, default=4, help='people a row (default: 4)'
    )
    parser.add_argument(
        '--height', type=int, default=320, help='pixels (default: 320)'
    )
    args = parser.parse_args()
    if not Path(args.dump).exists():
        sys.exit(f'The dump {args.dump} does not exist.')

    samples = mmengine.load(args.dump)
    samples = [s for s in samples if s['raw_ann_info']]
    # Spread over the whole set.
    chosen = np.linspace(0, len(samples) - 1, min(args.people, len(samples)))
    samples = [samples[i] for i in chosen.round().astype(int)]
    visualizer = PoseLocalVisualizer()
    datasets = Path(mmpose.__file__).parent / '.mim/configs/_base_/datasets'
    dataset = datasets / f'{args.dataset}.py'
    if not dataset.exists():
        sys.exit(f'MMPose has no data set {args.dataset} ({dataset}).')
    visualizer.set_dataset_meta(
        parse_pose_metainfo(dict(from_file=str(dataset)))
    )
    pictures = [draw_person(visualizer, s, args.height) for s in samples]
    captions = [
        f'{Path(s["img_path"]).stem}: label, prediction' for s in samples
    ]
    sheet = contact_sheet(pictures, captions, args.columns)
    Path(args.out).parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(args.out, cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR))
    print(f'Wrote {args.out}')


if __name__ == '__main__':
    main()
