r"""Convert Leeds Sports Pose (LSP) and its extension (LSPET) to COCO's format.

    python tools/dataset_converters/lsp_to_coco.py \
        --lsp data/lsp/lsp_dataset_original --lspet data/lsp/lspet_dataset

Either set may be left out. LSP's first half (1000 pictures) and LSPET go to
lsp_train.json, LSP's second half to lsp_test.json, as in the papers; with
--val-from, the last pictures of LSPET go to lsp_val.json instead. File names
in them start with the folder's own name: set ``data_root`` to the folder that
holds both, and ``data_prefix=dict(img='')``.

Both sets have one person with 14 joints per picture, left and right as seen by
the person, but they store them differently:

LSP, 3 x 14 x 2000
    The third value is 1 for an *occluded* joint. The README speaks of "a
    binary value specifying joint visibility", but it is 1 for 7 % of the
    joints only, and Convolutional Pose Machines read it so too (``1 -
    joints(3)`` in training/genJSON.m of its release). Occluded joints have a
    place, which the papers train on and evaluate: v is 1 if occluded, else 2.
LSPET, 14 x 3 x 10000
    The third value is 1 for a labelled joint. The others are marked by a
    place at 0 or below and get x = y = v = 0.

COCO counts pixels from 0. LSP is taken to count from 1 as MATLAB does; its
README does not say. LSPET's labels are left as they are: of the first 9000
pictures' coordinates, 27 are below 1, where none could be if they counted
from 1, and besides two far outside none is above size - 1.

The papers evaluate with the person's place given, which these sets do not
have: the box is that of the labelled joints, which MMPose makes 1.25 times as
large.
"""

import argparse
import json
import os
import sys
from pathlib import Path
from typing import List, NamedTuple, Optional, Tuple

import mmcv
import numpy as np
from scipy.io import loadmat

from mmpose_lossplus.datasets import LspDataset
from mmpose_lossplus.experiments.files import write_text
from mmpose_lossplus.experiments.progress import track

# COCO's image and annotation of a picture.
Pair = Tuple[dict, Optional[dict]]


class Source(NamedTuple):
    """How a set stores its joints."""

    name: str
    axes: Tuple[int, int, int]  # to pictures, joints, values
    file: str
    origin: int  # coordinate of the first pixel
    first_id: int  # added, so that image ids are unique


LSP = Source('LSP', (2, 1, 0), 'im{:04d}.jpg', 1, 0)
LSPET = Source('LSPET', (2, 0, 1), 'im{:05d}.jpg', 0, 100000)


def load_joints(folder: Path, source: Source) -> np.ndarray:
    """Load x and y from 0 and COCO's v, of shape (pictures, 14, 3)."""
    file = folder / 'joints.mat'
    try:
        stored = loadmat(str(file))['joints']
        joints = stored.transpose(source.axes).astype(float)
    except Exception as error:  # SciPy raises all kinds
        sys.exit(f'{file} cannot be read, or has no joints: {error!r}.')
    if joints.shape[1:] != (14, 3):
        sys.exit(
            f'{file} has joints of shape {stored.shape}: no {source.name}.'
        )
    flags = joints[..., 2]
    if not np.isfinite(joints).all() or not np.isin(flags, (0, 1)).all():
        sys.exit(f'{file} has joints that are not finite, or flags but 0, 1.')
    joints[..., 2] = 2 - flags if source is LSP else 2 * flags
    joints[..., :2] -= source.origin
    joints[joints[..., 2] == 0] = 0
    return joints


def convert(folder: Path, source: Source, joints: np.ndarray) -> List[Pair]:
    """Convert the pictures of a set, in order."""
    names = [source.file.format(i + 1) for i in range(len(joints))]
    missing = [n for n in names if not (folder / 'images' / n).is_file()]
    if missing:
        sys.exit(
            f'{folder / "images" / missing[0]} does not exist: {len(missing)} '
            f'of {len(names)} pictures with joints are missing.'
        )
    pairs = []
    for i, name in enumerate(track(names, source.name)):
        # As MMPose will read it, with the camera's orientation applied.
        picture = mmcv.imread(str(folder / 'images' / name))
        if picture is None:
            sys.exit(f'{folder / "images" / name} is not a picture.')
        height, width = picture.shape[:2]
        image = dict(
            id=source.first_id + i + 1,
            file_name=f'{folder.name}/images/{name}',
            width=width,
            height=height,
        )
        pairs.append((image, annotate(image, joints[i])))
    return pairs


def annotate(image: dict, joints: np.ndarray) -> Optional[dict]:
    """COCO's annotation of a person with joints of shape (14, 3).

    None if the labelled ones span no box inside the picture, without which
    MMPose could not use it.
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


def write(file: Path, pairs: List[Pair]) -> None:
    """Write an annotation file and say what is in it."""
    meta = LspDataset.METAINFO
    names = [info['name'] for info in meta['keypoint_info'].values()]
    links = [info['link'] for info in meta['skeleton_info'].values()]
    person = dict(
        id=1,
        name='person',
        supercategory='person',
        keypoints=names,
        # COCO's links count from 1.
        skeleton=[[names.index(end) + 1 for end in link] for link in links],
    )
    images = [image for image, ann in pairs if ann]
    anns = [ann for _, ann in pairs if ann]
    coco = dict(images=images, annotations=anns, categories=[person])
    write_text(file, json.dumps(coco))
    print(
        f'{file}: {len(images)} pictures, '
        f'{sum(ann["num_keypoints"] for ann in anns)} labelled joints, '
        f'{len(pairs) - len(anns)} pictures without usable labels left out'
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add('--lsp', type=Path, help='folder with joints.mat and images/')
    add('--lspet', type=Path, help='folder with joints.mat and images/')
    add('--val-from', type=int, help='first picture of LSPET in lsp_val.json')
    add(
        '--out',
        type=Path,
        default=Path('data/lsp/annotations'),
        help='folder of the annotation files (default: %(default)s)',
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
        sys.exit(f'{args.lsp} and {args.lspet} must be in one folder.')
    labels = [load_joints(folder, source) for folder, source in sets]
    last = len(labels[-1]) if args.lspet else 0
    if args.val_from is not None and not 1 < args.val_from <= last:
        sys.exit(
            f'--val-from is {args.val_from}, must be in [2, {last}], the '
            'pictures of --lspet.'
        )

    parts = dict(lsp_train=[], lsp_test=[], lsp_val=[])
    for (folder, source), joints in zip(sets, labels):
        pairs = convert(folder, source, joints)
        if source is LSP:
            rest, split = 'lsp_test', len(pairs) // 2
        else:
            rest, split = 'lsp_val', (args.val_from or len(pairs) + 1) - 1
        parts['lsp_train'] += pairs[:split]
        parts[rest] += pairs[split:]
    args.out.mkdir(parents=True, exist_ok=True)
    for name, pairs in parts.items():
        if pairs:
            write(args.out / f'{name}.json', pairs)


if __name__ == '__main__':
    main()
