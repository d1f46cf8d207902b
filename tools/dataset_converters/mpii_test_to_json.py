r"""List MPII's test people, so that MMPose can predict their joints.

    python tools/dataset_converters/mpii_test_to_json.py \
        mpii_human_pose_v1_u12_1.mat --out data/mpii/annotations/mpii_test.json

Takes what the test set is evaluated on, the people in RELEASE.single_person
of the images that are not for training. MMPose's MpiiDataset loads the file,
and MpiiSubmission writes predictions for it as MPII's authors want them.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import List, Optional, Tuple

import numpy as np

from mmpose_lossplus.evaluation.mpii_submission import Release, load_release
from mmpose_lossplus.experiments.files import write_text


def number(struct: np.ndarray, *fields: str) -> Optional[float]:
    """A number below nested structs, or None where MPII left it out."""
    for field in fields:
        if not struct.size or field not in (struct.dtype.names or ()):
            return None
        struct = struct[field].flat[0]
    return float(struct.flat[0]) if struct.size else None


def list_people(release: Release) -> Tuple[List[dict], int]:
    """List the people on whom MPII's test set is evaluated.

    Returns:
        tuple[list[dict], int]: The people, with MPII's 1-based ``center`` and
        its ``scale``, and 0-based positions ``image_index`` and ``rect_index``
        in ``RELEASE.annolist`` and its ``annorect``; and the number of those
        left out because they have no position or scale.
    """
    people, skipped = [], 0
    for image in np.flatnonzero(release.img_train == 0).tolist():
        entry = release.annolist[image]
        rects = entry['annorect'].ravel()
        for rect in sorted(release.single_person[image].ravel().tolist()):
            person = rects[int(rect) - 1 : int(rect)]
            center = [number(person, 'objpos', axis) for axis in 'xy']
            scale = number(person, 'scale')
            if None in (*center, scale):
                skipped += 1
                continue
            people.append(
                dict(
                    image=str(entry['image']['name'].flat[0].flat[0]),
                    center=center,
                    scale=scale,
                    # MpiiDataset drops people whose joints are all at 0.
                    joints=[[1.0, 1.0]] * 16,
                    joints_vis=[0] * 16,
                    image_index=image,
                    rect_index=int(rect) - 1,
                )
            )
    return people, skipped


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        'release', type=Path, help='path of mpii_human_pose_v1_u12_1.mat'
    )
    parser.add_argument(
        '--out',
        type=Path,
        default=Path('data/mpii/annotations/mpii_test.json'),
        help='file to write (default: %(default)s)',
    )
    args = parser.parse_args()
    try:
        people, skipped = list_people(load_release(args.release))
    except (FileNotFoundError, ValueError) as error:
        sys.exit(str(error))
    if not people:
        sys.exit(
            f'{args.release} has no single people with position and scale in '
            'its test images.'
        )
    args.out.parent.mkdir(parents=True, exist_ok=True)
    write_text(args.out, json.dumps(people))
    images = len({person['image_index'] for person in people})
    print(
        f'{args.out}: {len(people)} people in {images} test images, '
        f'{skipped} left out'
    )


if __name__ == '__main__':
    main()
