r"""Convert Leeds Sports Pose (LSP) and its extension (LSPET) to COCO's format.

    python tools/dataset_converters/lsp_to_coco.py \
        --lsp data/lsp/lsp_dataset_original --lspet data/lsp/lspet_dataset

Either set may be left out. LSP's first half (1000 pictures) and LSPET go to
lsp_train.json, LSP's second half to lsp_test.json, as in the papers; with
--val-from, the last pictures of LSPET go to lsp_val.json instead. File names
in them start with the folder's own name: set ``data_root`` to the folder that
holds both, and ``data_prefix=dict(img='')``.

Joints. Both sets have one person with 14 joints per picture, left and right
as seen by the person, but they store them differently:

LSP, 3 x 14 x 2000
    The third value is 1 for an *occluded* joint. The README speaks of "a
    binary value specifying joint visibility", but it is 1 for 7 % of the
    joints only, mostly of the arms and hardly ever for neck and head top.
    Convolutional Pose Machines read it so too (``1 - joints(3)`` in
    training/genJSON.m of shihenw/convolutional-pose-machines-release).
    Occluded joints have a place, which the papers train on and evaluate, so
    all are labelled: v is 1 if occluded, else 2.
LSPET, 14 x 3 x 10000
    The third value is 1 for a labelled joint. The others are marked by a
    place at 0 or below and get x = y = v = 0.

Pixels. COCO counts from 0. LSP is taken to count from 1 as MATLAB does; its
README does not say. LSPET's labels are left as they are: of the first 9000
pictures' coordinates, 27 are below 1, where none could be if they counted
from 1, and besides two far outside none is above size - 1.

Box. The papers evaluate with the person's place given, which these sets do
not have: the box is that of the labelled joints, without margin, because
MMPose's GetBBoxCenterScale makes it 1.25 times as large.
"""

import argparse
import json
import os
import sys
from pathlib import Path
from typing import List, NamedTuple, Optional, Tuple

import mmcv
import numpy as np
from mmengine.utils import track_iter_progress
from scipy.io import loadmat

from mmpose_lossplus.datasets import LspDataset


class Source(NamedTuple):
    """How a set stores its joints.

    Attributes:
        name (str): Name of the set.
        axes (tuple[int]): Transposition to pictures x joints x values.
        shape (str): Shape of the array, for people.
        file (str): Pattern of the pictures' names.
        origin (int): Coordinate of the first pixel.
        first_id (int): Number added to make image ids unique.
    """

    name: str
    axes: Tuple[int, int, int]
    shape: str
    file: str
    origin: int
    first_id: int


LSP = Source('LSP', (2, 1, 0), '3 x 14 x pictures', 'im{:04d}.jpg', 1, 0)
LSPET = Source(
    'LSPET', (2, 0, 1), '14 x 3 x pictures', 'im{:05d}.jpg', 0, 100000
)


def load_joints(folder: Path, source: Source) -> np.ndarray:
    """Load and check a set's ``joints.mat``.

    Args:
        folder (Path): Folder of the set.
        source (Source): Which set it is.

    Returns:
        np.ndarray: x and y in pixels that count from 0, and COCO's v; of
        shape (pictures, 14, 3).
    """
    file = folder / 'joints.mat'
    if not file.is_file():
        sys.exit(f'{file} does not exist; {source.name} has one.')
    try:
        joints = loadmat(str(file))['joints']
    except Exception as error:  # SciPy raises all kinds
        sys.exit(
            f'{file} is not a MATLAB file with the variable joints: {error!r}.'
        )
    shape = joints.shape
    if joints.ndim == 3:
        joints = joints.transpose(source.axes)
    if joints.shape[1:] != (14, 3):
        sys.exit(
            f'{file} has joints of shape {shape}, expected {source.shape} as '
            f'in {source.name}.'
        )
    joints = joints.astype(float)
    if (
        not np.isfinite(joints).all()
        or not np.isin(joints[..., 2], (0, 1)).all()
    ):
        sys.exit(
            f'{file} has joints that are not finite or with a third value '
            'other than 0 and 1.'
        )
    if source is LSP:
        joints[..., 2] = 2 - joints[..., 2]
    else:
        joints[..., 2] *= 2
    joints[..., :2] -= source.origin
    joints[joints[..., 2] == 0] = 0
    return joints


def convert(
    folder: Path, source: Source, joints: np.ndarray
) -> List[Tuple[dict, Optional[dict]]]:
    """Convert a set.

    Args:
        folder (Path): Folder with ``joints.mat`` and ``images``.
        source (Source): Which set it is.
        joints (np.ndarray): From :func:`load_joints`.

    Returns:
        list[tuple[dict, dict | None]]: COCO's image and annotation for each
        picture, in order; no annotation where the labelled joints span no
        box.
    """
    files = [
        folder / 'images' / source.file.format(i + 1)
        for i in range(len(joints))
    ]
    missing = [file for file in files if not file.is_file()]
    if missing:
        sys.exit(
            f'{missing[0]} does not exist: {len(missing)} of {len(files)} '
            f'pictures labelled in {folder / "joints.mat"} are missing.'
        )
    print(f'Reading {len(files)} pictures of {source.name}', flush=True)
    pairs = []
    for i, file in enumerate(track_iter_progress(files)):
        # As MMPose will read it, with the camera's orientation applied.
        picture = mmcv.imread(str(file))
        if picture is None:
            sys.exit(f'{file} is not a picture that OpenCV can read.')
        height, width = picture.shape[:2]
        image = dict(
            id=source.first_id + i + 1,
            file_name=f'{folder.name}/images/{file.name}',
            width=width,
            height=height,
        )
        pairs.append((image, annotate(image, joints[i])))
    return pairs


def annotate(image: dict, joints: np.ndarray) -> Optional[dict]:
    """COCO's annotation of a person.

    Args:
        image (dict): COCO's image.
        joints (np.ndarray): x, y and v, of shape (14, 3).

    Returns:
        dict | None: The annotation, if the labelled joints span a box inside
        the picture, without which MMPose could not use it.
    """
    points = joints[joints[:, 2] > 0, :2]
    if not len(points):
        return None
    border = (image['width'] - 1, image['height'] - 1)
    low = np.clip(points.min(axis=0), 0, border)
    size = np.clip(points.max(axis=0), 0, border) - low
    if not size.all():
        return None
    return dict(
        id=image['id'],
        image_id=image['id'],
        category_id=1,
        iscrowd=0,
        bbox=[*low.round(2).tolist(), *size.round(2).tolist()],
        # MMPose's guess for people whom nobody has outlined.
        area=round(0.53 * float(size.prod()), 1),
        num_keypoints=len(points),
        keypoints=joints.round(2).ravel().tolist(),
    )


def category() -> dict:
    """COCO's category with the joints' names and links, which count from 1."""
    meta = LspDataset.METAINFO
    names = [info['name'] for info in meta['keypoint_info'].values()]
    links = [info['link'] for info in meta['skeleton_info'].values()]
    return dict(
        id=1,
        name='person',
        supercategory='person',
        keypoints=names,
        skeleton=[[names.index(end) + 1 for end in link] for link in links],
    )


def write(file: Path, pairs: List[Tuple[dict, Optional[dict]]]) -> None:
    """Write an annotation file and say what is in it."""
    kept = [(image, ann) for image, ann in pairs if ann]
    coco = dict(
        images=[image for image, _ in kept],
        annotations=[ann for _, ann in kept],
        categories=[category()],
    )
    partial = file.with_name(f'{file.name}.partial')
    partial.write_text(json.dumps(coco))
    os.replace(partial, file)
    joints = sum(ann['num_keypoints'] for ann in coco['annotations'])
    print(
        f'{file}: {len(kept)} pictures, {joints} labelled joints, '
        f'{len(pairs) - len(kept)} pictures without usable labels left out'
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        '--lsp',
        type=Path,
        help='folder of LSP, with joints.mat and images/',
    )
    parser.add_argument(
        '--lspet',
        type=Path,
        help='folder of LSPET, with joints.mat and images/',
    )
    parser.add_argument(
        '--val-from',
        type=int,
        metavar='N',
        help='put pictures N, N + 1, ... of LSPET into lsp_val.json',
    )
    parser.add_argument(
        '--out',
        type=Path,
        default=Path('data/lsp/annotations'),
        help='folder of the annotation files (default: data/lsp/annotations)',
    )
    args = parser.parse_args()
    sets = [
        # A link keeps its name: that is what data_root holds.
        (Path(os.path.abspath(folder)), source)
        for folder, source in ((args.lsp, LSP), (args.lspet, LSPET))
        if folder is not None
    ]
    if not sets:
        sys.exit('Give --lsp, --lspet or both.')
    if len({folder.parent for folder, _ in sets}) > 1:
        sys.exit(
            f'{args.lsp} and {args.lspet} must be in one folder, which '
            'becomes data_root.'
        )
    if args.val_from is not None and args.lspet is None:
        sys.exit('--val-from splits LSPET, so give --lspet too.')
    labels = [load_joints(folder, source) for folder, source in sets]
    if args.val_from is not None and not 1 < args.val_from <= len(labels[-1]):
        sys.exit(
            f'--val-from must be 2 to {len(labels[-1])}, the number of '
            f'pictures of LSPET, got {args.val_from}.'
        )

    parts = dict(lsp_train=[])
    for (folder, source), joints in zip(sets, labels):
        pairs = convert(folder, source, joints)
        if source is LSP:
            rest, split = 'lsp_test', len(pairs) // 2
        else:
            rest, split = 'lsp_val', (args.val_from or len(pairs) + 1) - 1
        parts['lsp_train'] += pairs[:split]
        if pairs[split:]:
            parts[rest] = pairs[split:]
    args.out.mkdir(parents=True, exist_ok=True)
    for name, pairs in parts.items():
        write(args.out / f'{name}.json', pairs)


if __name__ == '__main__':
    main()
