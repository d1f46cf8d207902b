r"""Draw people with exactly known joints, in COCO's layout.

    python projects/drawn_people/draw_people.py --out data/people \
        --num-train 4000 --num-val 1000 --size 256 192

The README beside this file says what is drawn and what the labels mean.
"""

import argparse
from pathlib import Path
from shutil import rmtree
from typing import Dict, List, NamedTuple, Set, Tuple

import cv2
import mmcv
import mmengine
import numpy as np
from mmpose.datasets import CocoDataset
from mmpose.datasets.datasets.utils import parse_pose_metainfo
from numpy import ndarray
from numpy.random import Generator

from mmpose_lossplus.experiments.progress import track

META = parse_pose_metainfo(CocoDataset.METAINFO)
JOINTS = list(META['keypoint_name2id'])
BODY = mmengine.load(Path(__file__).with_name('body.yaml'))
SIDES = dict(left=1, right=-1)
ANGLES = dict(BODY['angles'])
PARTS = dict(BODY['parts'])
for s in SIDES:
    ANGLES.update({f'{s}_{k}': v for k, v in BODY['side_angles'].items()})
    for part, radii in BODY['side_parts'].items():
        PARTS[f'{s}_{part}'] = {f'{s}_{k}': r for k, r in radii.items()}
# What a pixel shows is a part's id, plus a step for the second person.
IDS = {part: number for number, part in enumerate(PARTS, 1)}
PERSON_STEP, OBJECT = 32, 255
MIDDLE = {IDS[part] for part in BODY['parts']}
# Fewer joints to be seen than these, and a second person is not annotated.
MIN_SEEN = 5
TURN = 2 * np.pi * np.arange(24) / 24
RING = np.stack([np.cos(TURN), np.sin(TURN)], axis=1)
# Size and brightness of the shapes that, one on the other, look round.
SHADES = ((1, 0.5), (0.84, 0.78), (0.6, 1), (0.3, 1.13))
# Fractional bits of the coordinates that OpenCV draws at.
SHIFT = 5
# Numbers of the pictures for validation come after this.
FIRST_VAL = 10**8
Arrays = Dict[str, ndarray]


class Shape(NamedTuple):
    """The hull of discs; one that is rounded gets darker to its border."""

    discs: ndarray  # x, y and radius in pixels, of shape (N, 3)
    colour: ndarray
    rounded: bool = False


class Person(NamedTuple):
    """A person in pixels; (0, 0) is the centre of the first one.

    ``shown_by`` has the ids of the parts that show each of COCO's joints,
    ``parts`` ids and shapes from far to near.
    """

    points: Arrays
    shown_by: Dict[str, Set[int]]
    parts: List[Tuple[int, List[Shape]]]


def turn(x: float = 0, y: float = 0, z: float = 0) -> ndarray:
    """Rotation matrix of a rotation vector in degrees."""
    return cv2.Rodrigues(np.radians((x, y, z), dtype=float))[0]


def sample_pose(rng: Generator) -> Tuple[Dict[str, float], ndarray]:
    """Angles of all joints, and a rotation: from any side, mostly upright."""
    low, mode, high = np.array(list(ANGLES.values()), dtype=float).T
    angles = dict(zip(ANGLES, rng.triangular(low, mode, high)))
    roll = rng.normal(0, 18)
    if rng.random() < 0.1:
        roll = rng.uniform(-180, 180)
    yaw = rng.uniform(-180, 180)
    view = turn(z=roll) @ turn(x=rng.normal(5, 12)) @ turn(y=yaw)
    return angles, view


def pose(angles: Dict[str, float], view: ndarray) -> Tuple[Arrays, Arrays]:
    """Pose a body that looks at the viewer, then turn it by a rotation.

    Returns:
        tuple[dict, dict]: Points in heights of a standing person from the
        pelvis, x to the viewer's right, y up, z to the viewer. And the axes of
        middle parts: the body's left, up and forward as columns.
    """
    ways = ('bend', 'turn', 'tilt')
    # Half of the bend is below the waist.
    belly = turn(*(angles[f'spine_{way}'] / 2 for way in ways))
    chest = belly @ belly
    head = chest @ turn(*(angles[f'neck_{way}'] for way in ways))
    axes = dict(hips=np.eye(3), belly=belly, chest=chest, head=head)
    points = dict(pelvis=np.zeros(3))
    for name, (start, part, way) in BODY['places'].items():
        points[name] = points[start] + axes[part] @ way
    for side, s in SIDES.items():
        a = {name: angles[f'{side}_{name}'] for name in BODY['side_angles']}
        upper_arm = chest @ turn(z=s * a['shoulder_abduction'])
        upper_arm = upper_arm @ turn(x=-a['shoulder_flexion'])
        upper_arm = upper_arm @ turn(y=-s * a['shoulder_rotation'])
        forearm = upper_arm @ turn(x=-a['elbow_flexion'])
        hand = forearm @ turn(x=-a['wrist_flexion'])
        thigh = turn(z=s * a['hip_abduction']) @ turn(x=-a['hip_flexion'])
        thigh = thigh @ turn(y=s * a['hip_rotation'])
        shank = thigh @ turn(x=a['knee_flexion'])
        foot = shank @ turn(x=a['ankle_flexion'])
        arm = dict(upper_arm=upper_arm, forearm=forearm, hand=hand)
        own_axes = dict(axes, **arm, thigh=thigh, shank=shank, foot=foot)
        own = dict(points)
        for name, (start, part, (x, y, z)) in BODY['side_places'].items():
            own[name] = own[start] + own_axes[part] @ (s * x, y, z)
            points[f'{side}_{name}'] = own[name]
    seen_points = {name: view @ point for name, point in points.items()}
    return seen_points, {name: view @ axis for name, axis in axes.items()}


def sample_colour(rng: Generator) -> ndarray:
    """A colour, mostly not a bright one."""
    colour = rng.uniform(20, 235, 3)
    return colour + rng.uniform(0, 0.9) * (colour.mean() - colour)


def sample_colours(rng: Generator) -> Arrays:
    """Colours of a person's parts, the same on both sides."""
    dark, light = np.array([[50, 75, 115], [175, 205, 240]])
    skin = dark + rng.random() * (light - dark)
    hairs = np.array([[20, 22, 28], [35, 55, 80], [90, 150, 190], [160] * 3])
    hair = hairs[rng.integers(4)] * rng.uniform(0.8, 1.2)
    shirt, trousers, shoes = (sample_colour(rng) for _ in range(3))
    sleeves = rng.integers(3)
    colours = dict(skin=skin, neck=skin, hand=skin, head=hair, foot=shoes)
    colours.update(trunk=shirt, hips=trousers, thigh=trousers)
    colours['upper_arm'] = shirt if sleeves else skin
    colours['forearm'] = shirt if sleeves == 2 else skin
    colours['shank'] = trousers if rng.random() < 0.6 else skin
    colours['trim'] = shirt + (70 if rng.random() < 0.5 else -70)
    return colours


def dress(
    points: Arrays, axes: Arrays, colours: Arrays, girth, scale, origin
) -> Person:
    """Make the body of :func:`pose` a person in the picture.

    ``girth`` is a factor on the thickness of trunk and limbs, ``scale`` has
    the pixels of a standing person's height, ``origin`` the pelvis, x and y.
    """
    shown_by = {j: {IDS[p] for p in ps} for j, ps in BODY['shown_by'].items()}
    hidden = set()
    for joint, (part, way, least) in BODY['turned'].items():
        if (axes[part] @ way)[2] < least:
            hidden.add(joint)
            shown_by[joint] -= MIDDLE
    places = {k: origin + scale * p[:2] * (1, -1) for k, p in points.items()}
    shapes = {part: [] for part in PARTS}
    depths = {}

    def add(part, colour, rounded=False, **balls):
        discs = [(*places[name], r * scale) for name, r in balls.items()]
        shapes[part].append(Shape(np.array(discs), colour, rounded))

    for part, balls in PARTS.items():
        depths[part] = np.mean([points[name][2] for name in balls])
        # Far limbs are a little darker, which helps to tell them apart.
        colour = colours[part.split('_', 1)[-1]] * (1 + 0.4 * depths[part])
        factor = 1 if part == 'head' else girth
        add(part, colour, True, **{k: r * factor for k, r in balls.items()})
    skin, trim = colours['skin'], colours['trim']
    if axes['chest'][2, 2] > 0.15:
        add('trunk', skin, left_collar=0, right_collar=0, collar_front=0.004)
        add('trunk', trim, collar_front=0.006, waist_front=0.006)
        add('trunk', trim, waist_front=0.006, belly_front=0.006)
    front = axes['head'][2, 2]
    if front > -0.1:
        add('head', skin, True, forehead=0.042, chin=0.033)
    if front > 0.1:
        lips = skin * (0.4, 0.4, 0.75)
        add('head', lips, left_mouth=0.004, right_mouth=0.004)
    for side in SIDES:
        if f'{side}_ear' not in hidden:
            add('head', skin * 0.85, **{f'{side}_ear': 0.014})
        if f'{side}_eye' not in hidden:
            add('head', np.full(3, 245), **{f'{side}_eye': 0.0105})
            add('head', np.full(3, 25), **{f'{side}_eye': 0.0065})
    if 'nose' not in hidden:
        add('head', skin * 0.7, nose_bridge=0.004, nose=0.0085)
    order = sorted(depths, key=depths.get)
    return Person(places, shown_by, [(IDS[p], shapes[p]) for p in order])


def polygon(discs: ndarray) -> ndarray:
    """Hull of discs (N, 3) as OpenCV's fixed-point coordinates."""
    ring = discs[:, None, :2] + discs[:, None, 2:] * RING
    ring = np.round(ring.reshape(-1, 2) * 2**SHIFT).astype(np.int32)
    return cv2.convexHull(ring)


def paint(
    image: ndarray, ids: ndarray, shape: Shape, number: int, light: ndarray
) -> None:
    """Draw a shape into the picture and its number into the ids, in place.

    The light comes from where a vector, x and y, points to.
    """
    cv2.fillConvexPoly(ids, polygon(shape.discs), number, cv2.LINE_8, SHIFT)
    for size, brightness in SHADES if shape.rounded else ((1, 1),):
        discs = shape.discs * (1, 1, size)
        discs[:, :2] += (1 - size) * 0.6 * shape.discs[:, 2:] * light
        colour = np.clip(shape.colour * brightness, 0, 255).tolist()
        cv2.fillConvexPoly(image, polygon(discs), colour, cv2.LINE_AA, SHIFT)


def background(rng: Generator, size: ndarray) -> ndarray:
    """Gradients, patches and coarse noise, of shape (H, W, 3)."""
    cells = rng.integers(2, 5, 2)
    colours = np.array([sample_colour(rng) for _ in range(cells.prod())])
    colours = colours.reshape(*cells, 3).astype(np.float32)
    image = cv2.resize(colours, tuple(size), interpolation=cv2.INTER_CUBIC)
    for _ in range(rng.integers(4)):
        corners = rng.uniform(-0.3, 1.3, (4, 2)) * size
        hull = cv2.convexHull(corners.astype(np.int32))
        cv2.fillConvexPoly(image, hull, sample_colour(rng).tolist())
    # Blotches of a twelfth of the picture.
    noise = rng.normal(0, rng.uniform(3, 25), (12, 12, 1))
    noise = cv2.resize(noise.astype(np.float32), tuple(size))
    return np.clip(image + noise[..., None], 0, 255).astype(np.uint8)


def limb_like(rng: Generator, place: ndarray, scale: float) -> List[Shape]:
    """A chain of one to three limbs that starts at x and y in pixels."""
    colours = sample_colours(rng)
    colour = colours['skin' if rng.random() < 0.5 else 'trunk']
    angle = rng.uniform(0, 2 * np.pi)
    radii = rng.uniform(0.03, 0.055) * 0.75 ** np.arange(4)
    chain = []
    for i in range(rng.integers(1, 4)):
        step = rng.uniform(0.13, 0.26) * scale
        end = place + step * np.array((np.cos(angle), np.sin(angle)))
        discs = np.c_[[place, end], radii[i : i + 2] * scale]
        chain.append(Shape(discs, colour, True))
        place, angle = end, angle + rng.uniform(-1.8, 1.8)
    return chain


def cover(rng: Generator, place: ndarray, scale: float) -> List[Shape]:
    """A ball, box, bar or limb; arguments as of :func:`limb_like`."""
    kind = rng.integers(4)
    if kind == 3:
        return limb_like(rng, place, scale)
    colour = sample_colour(rng)
    along = turn(z=rng.uniform(0, 360))[:2, :2] * scale
    if kind == 0:
        corners, radius = np.zeros((1, 2)), rng.uniform(0.05, 0.11)
    elif kind == 1:
        half = rng.uniform(0.04, 0.12, 2)
        corners = half * [(-1, -1), (-1, 1), (1, 1), (1, -1)]
        radius = 0.005
    else:
        corners, radius = np.array([(-2, 0), (2, 0)]), rng.uniform(0.02, 0.05)
    discs = np.insert(place + corners @ along, 2, radius * scale, axis=1)
    return [Shape(discs, colour, kind != 1)]


def place_people(
    rng: Generator, size: ndarray, second_person: float
) -> Tuple[List[Person], float]:
    """Put one person or two into the picture.

    The first fills much of it and is out of it by 6 % at most; the second is
    beside or across. Also returns the pixels of the first one's height.
    """
    fill = rng.uniform(0.65, 1)
    two = rng.random() < second_person
    people = []
    for _ in range(1 + two):
        points, axes = pose(*sample_pose(rng))
        girth = rng.uniform(0.8, 1.25)
        balls = [ball for part in PARTS.values() for ball in part.items()]
        places = np.array([points[name][:2] for name, _ in balls])
        radii = np.array([[radius * girth] for _, radius in balls])
        low, high = (places - radii).min(axis=0), (places + radii).max(axis=0)
        if not people:
            scale = height = fill * (size / (high - low)).min()
            span = scale * (high - low)
            centre = span / 2 + rng.uniform(0, 1, 2) * (size - span)
            centre += rng.uniform(-0.06, 0.06, 2) * size
        else:
            scale *= rng.uniform(0.75, 1.15)
            span = (span + scale * (high - low)) / 2
            away = rng.uniform(0.45, 0.8) * rng.choice((-1, 1))
            centre = centre + span * (away, rng.uniform(-0.2, 0.2))
        # A body's y is up.
        origin = centre - scale * (low + high) / 2 * (1, -1)
        colours = sample_colours(rng)
        people.append(dress(points, axes, colours, girth, scale, origin))
    return people, height


def draw(
    people: List[Person], objects: List[Shape], image: ndarray, light: ndarray
) -> List[dict]:
    """Draw people, from far to near, and objects; annotate the people."""
    height, width = image.shape[:2]
    top = np.zeros((height, width), np.uint8)
    silhouettes = []
    for i, person in enumerate(people):
        ids = np.zeros_like(top)
        for part, shapes in person.parts:
            for shape in shapes:
                paint(image, ids, shape, part, light)
        silhouettes.append((ids > 0).astype(np.uint8))
        np.copyto(top, ids + PERSON_STEP * i, where=ids > 0)
    for shape in objects:
        paint(image, top, shape, OBJECT, light)
    annotations = []
    for i, (person, silhouette) in enumerate(zip(people, silhouettes)):
        keypoints = []
        for joint in JOINTS:
            x, y = person.points[joint]
            # Between the centres of the outer pixels.
            if 0 <= x <= width - 1 and 0 <= y <= height - 1:
                shown = int(top[round(y), round(x)]) - PERSON_STEP * i
                seen = shown in person.shown_by[joint]
                keypoints += [round(x, 2), round(y, 2), 1 + seen]
            else:
                keypoints += [0, 0, 0]
        ann = dict(category_id=1, iscrowd=0, bbox=cv2.boundingRect(silhouette))
        ann['area'] = int(silhouette.sum())
        ann['num_keypoints'] = sum(v > 0 for v in keypoints[2::3])
        annotations.append(dict(ann, keypoints=keypoints))
    return annotations


def draw_picture(
    rng: Generator, size, second_person: float, occlusion: float, clutter: int
) -> Tuple[ndarray, List[dict]]:
    """Draw a picture; arguments as of the command line.

    Also returns the annotations of the first person and, if it can be
    recognized, of the second.
    """
    size = np.array(size[::-1])
    image = background(rng, size)
    angle = rng.uniform(0, 2 * np.pi)
    light = rng.uniform(0.3, 1) * np.array((np.cos(angle), np.sin(angle)))
    people, scale = place_people(rng, size, second_person)
    unused = np.zeros(image.shape[:2], np.uint8)
    for _ in range(clutter):
        start = rng.uniform(-0.1, 1.1, 2) * size
        for shape in limb_like(rng, start, scale * rng.uniform(0.7, 1.2)):
            paint(image, unused, shape, 1, light)
    objects = []
    if rng.random() < occlusion:
        joints = list(people[0].shown_by)
        place = people[0].points[joints[rng.integers(len(joints))]]
        objects = cover(rng, place + rng.normal(0, 0.02, 2) * scale, scale)
    # The first is the nearer one in half of the pictures.
    order = slice(None, None, rng.choice([-1, 1]))
    first, *others = draw(people[order], objects, image, light)[order]
    anns = [first]
    anns += [o for o in others if o['keypoints'][2::3].count(2) >= MIN_SEEN]
    image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.3, 0.8))
    noise = rng.standard_normal(image.shape, np.float32) * rng.uniform(2, 9)
    return np.clip(image + noise, 0, 255).astype(np.uint8), anns


def write(root: Path, split: str, numbers: range, seed: int, **options):
    """Draw the pictures of these numbers as a part of COCO 2017."""
    images, annotations = [], []
    for number in track(numbers, f'Pictures for {split}'):
        rng = np.random.default_rng((seed, number))
        image, anns = draw_picture(rng, **options)
        file = root / split / f'{number:012d}.jpg'
        mmcv.imwrite(image, str(file), [cv2.IMWRITE_JPEG_QUALITY, 95])
        size = dict(zip(('height', 'width'), image.shape))
        images.append(dict(id=number, file_name=file.name, **size))
        for i, ann in enumerate(anns):
            ids = dict(id=2 * number + i, image_id=number)
            annotations.append(dict(ids, **ann))
    category = dict(id=1, name='person', supercategory='person')
    category['keypoints'] = JOINTS
    category['skeleton'] = [[a + 1, b + 1] for a, b in META['skeleton_links']]
    coco = dict(info=dict(description='Drawn people'), images=images)
    coco.update(annotations=annotations, categories=[category])
    mmengine.dump(coco, root / f'annotations/person_keypoints_{split}.json')


def main() -> None:
    parser = argparse.ArgumentParser(
        description='Draw people with exactly known joints.',
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add('--out', type=Path, default='data/people', help='a new folder')
    add('--num-train', type=int, default=4000, help='pictures to train on')
    add('--num-val', type=int, default=1000, help='pictures to validate on')
    add('--size', type=int, nargs=2, default=(256, 192), help='height, width')
    add('--second-person', type=float, default=0.3, help='share of pictures')
    add('--occlusion', type=float, default=0.3, help='share of pictures')
    add('--clutter', type=int, default=6, help='limb-like shapes behind')
    add('--seed', type=int, default=0, help='of all that is chance')
    options = vars(parser.parse_args())
    out, train, val = (options.pop(k) for k in ('out', 'num_train', 'num_val'))
    if out.exists():
        parser.error(f'{out} is there already')
    # What was cut off does not look like a data set.
    partial = out.with_name(f'{out.name}.partial')
    rmtree(partial, ignore_errors=True)
    write(partial, 'train2017', range(1, train + 1), **options)
    numbers = range(FIRST_VAL + 1, FIRST_VAL + val + 1)
    write(partial, 'val2017', numbers, **options)
    partial.rename(out)
    print(f'The drawn people are in {out}.')


if __name__ == '__main__':
    main()
