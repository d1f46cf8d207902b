r"""Draw people with exactly known joints: a data set of any size and number.

    python tools/dataset_converters/generate_people.py --out data/people \
        --num-train 4000 --num-val 1000 --size 256x192

A person is a skeleton in space: bones after Drillis and Contini, in a pose
within the joints' ranges of motion, seen from any side. Limbs are cones with
round ends, painted from far to near. Locally the two sides of a body look
alike: which is which shows by face, feet, knees and the front of the shirt.
Around it are limb-like shapes, and at chosen rates there is an object in
front of the person, and a second person, who is annotated too.

Labels. The place of a joint is where the skeleton has it, hidden or not.
COCO's v is 2 if the joint's pixel shows a part of the body that the joint
belongs to; 1 if something else is in front (an object, another person, another
part of the same body, the head seen from behind); 0 outside of the picture. A
second person of whom fewer than 5 of the 17 joints are to be seen is drawn but
not annotated. Box and area are those of the person's silhouette inside the
picture, together with what something in front hides of it.

Layouts. ``coco`` has the files of COCO 2017 but no detections: set
``bbox_file=None`` where a config has one. ``mpii`` has the files that MMPose
reads. As in MPII, there is no flag for hidden joints, and places count from 1.
MpiiDataset brings the centre alone to 0, so that a model learns joints that
count from 1, and MpiiPCKAccuracy adds 1 to predictions all the same: as with
MPII itself, exact ones are (1, 1) pixels off. In small pictures that counts
(PCK@0.1 is 0 at 96x72): evaluate them with PCKAccuracy, which does not add 1.
Centre and scale are such that MMPose's square just holds the silhouette, and
the head box is that of the drawn head.

A picture depends on the seed, on the options about its content, and on its
own number: with more pictures, the first ones stay as they are. The same
arguments give the same bytes with the same versions of NumPy and OpenCV. The
folder appears only when all of it is there; a second run does nothing.
"""

import argparse
import hashlib
import io
import json
import re
import shutil
import sys
from pathlib import Path
from typing import Dict, List, NamedTuple, Set, Tuple

import cv2
import numpy as np
from mmengine.utils import track_iter_progress
from mmpose.datasets import CocoDataset, MpiiDataset
from mmpose.datasets.datasets.utils import parse_pose_metainfo
from scipy.io import savemat

SIDES = dict(left=1, right=-1)
# Angles in degrees: lowest, most frequent, highest.
MIDDLE_ANGLES = dict(
    spine_bend=(-15, 5, 55),
    spine_turn=(-35, 0, 35),
    spine_tilt=(-20, 0, 20),
    neck_bend=(-25, 0, 35),
    neck_turn=(-60, 0, 60),
    neck_tilt=(-20, 0, 20),
)
SIDE_ANGLES = dict(
    shoulder_flexion=(-45, 10, 165),
    shoulder_abduction=(-5, 12, 140),
    shoulder_rotation=(-50, 20, 80),
    elbow_flexion=(0, 25, 145),
    wrist_flexion=(-40, 0, 40),
    hip_flexion=(-25, 5, 110),
    hip_abduction=(-10, 8, 45),
    hip_rotation=(-20, 5, 40),
    knee_flexion=(0, 10, 130),
    ankle_flexion=(-15, 5, 45),
)
ANGLES = {
    **MIDDLE_ANGLES,
    **{
        f'{side}_{name}': values
        for side in SIDES
        for name, values in SIDE_ANGLES.items()
    },
}
# A part is the hull of balls: their centres and radii. Lengths are in heights
# of a standing person.
SIDE_PARTS = dict(
    upper_arm=dict(shoulder=0.031, elbow=0.024),
    forearm=dict(elbow=0.024, wrist=0.017),
    hand=dict(wrist=0.017, hand=0.016),
    thigh=dict(hip=0.05, knee=0.034),
    shank=dict(knee=0.034, ankle=0.021),
    foot=dict(ankle=0.02, heel=0.02, toe=0.016),
)
PARTS = {
    'hips': dict(left_hip=0.052, right_hip=0.052),
    'trunk': dict(
        left_hip=0.05,
        right_hip=0.05,
        left_waist=0.046,
        right_waist=0.046,
        left_chest=0.045,
        right_chest=0.045,
    ),
    'neck': dict(thorax=0.025, upper_neck=0.025, jaw=0.02),
    'head': dict(cranium=0.055, jaw=0.034),
    **{
        f'{side}_{part}': {f'{side}_{end}': r for end, r in balls.items()}
        for side in SIDES
        for part, balls in SIDE_PARTS.items()
    },
}
IDS = {part: number for number, part in enumerate(PARTS, 1)}
# What a pixel shows is a part's id, plus this for each further person.
PERSON_STEP = 32
OBJECT = 255
# Places on the head, from its centre.
HEAD = dict(
    cranium=(0, 0.015, -0.004),
    jaw=(0, -0.032, 0.008),
    forehead=(0, 0.001, 0.016),
    chin=(0, -0.032, 0.016),
    head_top=(0, 0.07, -0.004),
    nose_bridge=(0, 0.006, 0.058),
    nose=(0, -0.014, 0.071),
    left_eye=(0.02, 0.008, 0.054),
    right_eye=(-0.02, 0.008, 0.054),
    left_ear=(0.054, -0.004, -0.002),
    right_ear=(-0.054, -0.004, -0.002),
    left_mouth=(0.012, -0.038, 0.047),
    right_mouth=(-0.012, -0.038, 0.047),
)
# Limbs that show a joint.
SHOWN_BY = dict(
    shoulder=('upper_arm',),
    elbow=('upper_arm', 'forearm'),
    wrist=('forearm', 'hand'),
    hip=('thigh',),
    knee=('thigh', 'shank'),
    ankle=('shank', 'foot'),
)
# Joints in what can turn them away, which shows them until then: which way
# they look there, and the least z of that.
TURNED = dict(
    nose=('head', (0, 0, 1), -0.15),
    left_eye=('head', (0.35, 0, 0.94), 0.1),
    right_eye=('head', (-0.35, 0, 0.94), 0.1),
    left_ear=('head', (1, 0, 0), -0.1),
    right_ear=('head', (-1, 0, 0), -0.1),
    left_shoulder=('chest', (1, 0, 0), -0.8),
    right_shoulder=('chest', (-1, 0, 0), -0.8),
    left_hip=('hips', (1, 0, 0), -0.8),
    right_hip=('hips', (-1, 0, 0), -0.8),
)
# Fewer joints to be seen than these, and a second person is not annotated.
MIN_SEEN = 5
RING = np.exp(2j * np.pi * np.arange(24) / 24)
RING = np.stack([RING.real, RING.imag], axis=1)
# Size and brightness of the shapes that, one on the other, look round.
SHADES = ((1, 0.5), (0.84, 0.78), (0.6, 1), (0.3, 1.13))
# Fractional bits of the coordinates that OpenCV draws at.
SHIFT = 5
JPEG_QUALITY = 95
STAMP = 'generate_people.json'
# Numbers of the pictures for validation come after this.
FIRST_VAL = 10**8
MIN_SIZE, MAX_SIZE = 32, 4096
# By part of the data set and number of the picture.
Drawn = Dict[str, Dict[int, List[dict]]]


class Options(NamedTuple):
    """What decides how a picture looks.

    Attributes:
        height (int): Of the picture in pixels.
        width (int): Of the picture in pixels.
        second_person (float): Share of the pictures with a second person.
        occlusion (float): Share of the pictures with an object in front of
            the first person.
        clutter (int): Limb-like shapes behind the people.
    """

    height: int
    width: int
    second_person: float
    occlusion: float
    clutter: int


class Body(NamedTuple):
    """A body in space, x to the viewer's right, y up, z to the viewer.

    Attributes:
        points (dict[str, np.ndarray]): Joints, centres of the parts' balls
            and places on the surface, in heights of a standing person from
            the pelvis.
        axes (dict[str, np.ndarray]): Of head, chest and hips: the
            body's left, up and forward as columns.
    """

    points: Dict[str, np.ndarray]
    axes: Dict[str, np.ndarray]

    def seen_from(self, view: np.ndarray) -> 'Body':
        """The body turned by a rotation matrix."""
        points, axes = (
            {name: view @ value for name, value in values.items()}
            for values in self
        )
        return Body(points, axes)


class Shape(NamedTuple):
    """The hull of discs.

    Attributes:
        discs (np.ndarray): x, y and radius in pixels, of shape (N, 3).
        colour (np.ndarray): Blue, green, red.
        rounded (bool): Whether it gets darker to its border. Defaults to
            False.
    """

    discs: np.ndarray
    colour: np.ndarray
    rounded: bool = False


class Person(NamedTuple):
    """A person as it is drawn.

    Attributes:
        points (dict[str, np.ndarray]): Those of :class:`Body`, x and y in
            pixels, of which the first one's centre is at 0.
        shown_by (dict[str, set[int]]): Ids of the parts at whose pixels each
            of COCO's joints is to be seen.
        parts (list[tuple[int, list[Shape]]]): Id and shapes of each part,
            from far to near.
        head_box (np.ndarray): Corners of the head, of shape (2, 2).
    """

    points: Dict[str, np.ndarray]
    shown_by: Dict[str, Set[int]]
    parts: List[Tuple[int, List[Shape]]]
    head_box: np.ndarray


class Label(NamedTuple):
    """What is known of a person in a picture.

    Attributes:
        person (Person): The person.
        seen (set[str]): Those of COCO's joints that are to be seen.
        silhouette (np.ndarray): Where the person was drawn, of shape (H, W).
    """

    person: Person
    seen: Set[str]
    silhouette: np.ndarray


def turn(x: float = 0, y: float = 0, z: float = 0) -> np.ndarray:
    """Rotation matrix of a rotation vector in degrees."""
    return cv2.Rodrigues(np.radians((x, y, z), dtype=float))[0]


def sample_angles(rng: np.random.Generator) -> Dict[str, float]:
    """Angles of all joints in degrees, each within its range."""
    low, mode, high = np.array(list(ANGLES.values()), dtype=float).T
    return dict(zip(ANGLES, rng.triangular(low, mode, high)))


def pose(angles: Dict[str, float]) -> Body:
    """Pose a body that looks at the viewer.

    The bones are those of R. Drillis and R. Contini, Body Segment Parameters
    (1966), as D. Winter, Biomechanics and Motor Control of Human Movement,
    gives them; shoulders and hips are put where the joints are, not the skin.

    Args:
        angles (dict[str, float]): In degrees, those of ``ANGLES``. Where all
            are 0 the body stands at attention.

    Returns:
        Body: The body.
    """
    # Half of the bend is below the waist.
    belly = turn(
        angles['spine_bend'] / 2,
        angles['spine_turn'] / 2,
        angles['spine_tilt'] / 2,
    )
    chest = belly @ belly
    head = chest @ turn(
        angles['neck_bend'], angles['neck_turn'], angles['neck_tilt']
    )
    points = dict(pelvis=np.zeros(3), belly_front=belly @ (0, 0.01, 0.05))
    waist = belly @ (0, 0.11, 0)
    thorax = points['thorax'] = waist + chest @ (0, 0.18, 0)
    neck = points['upper_neck'] = thorax + chest @ (0, 0.05, 0.004)
    points['waist_front'] = waist + chest @ (0, 0, 0.047)
    points['collar'] = thorax + chest @ (0, -0.035, 0.044)
    centre = neck + head @ (0, 0.065, 0.012)
    for name, place in HEAD.items():
        points[name] = centre + head @ place
    for side, s in SIDES.items():
        a = {name: angles[f'{side}_{name}'] for name in SIDE_ANGLES}
        arm = (
            chest
            @ turn(z=s * a['shoulder_abduction'])
            @ turn(x=-a['shoulder_flexion'])
            @ turn(y=-s * a['shoulder_rotation'])
        )
        forearm = arm @ turn(x=-a['elbow_flexion'])
        leg = (
            turn(z=s * a['hip_abduction'])
            @ turn(x=-a['hip_flexion'])
            @ turn(y=s * a['hip_rotation'])
        )
        shank = leg @ turn(x=a['knee_flexion'])
        foot = shank @ turn(x=a['ankle_flexion'])
        shoulder = thorax + chest @ (s * 0.115, 0, 0)
        elbow = shoulder + arm @ (0, -0.186, 0)
        wrist = elbow + forearm @ (0, -0.146, 0)
        hip = np.array((s * 0.055, 0, 0))
        knee = hip + leg @ (0, -0.245, 0)
        ankle = knee + shank @ (0, -0.246, 0)
        own = dict(
            chest=thorax + chest @ (s * 0.082, -0.012, 0),
            collar=thorax + chest @ (s * 0.035, 0.035, 0.03),
            waist=waist + belly @ (s * 0.048, 0, 0),
            shoulder=shoulder,
            elbow=elbow,
            wrist=wrist,
            hand=wrist
            + forearm @ turn(x=-a['wrist_flexion']) @ (0, -0.065, 0),
            hip=hip,
            knee=knee,
            ankle=ankle,
            heel=ankle + foot @ (0, -0.018, -0.02),
            toe=ankle + foot @ (0, -0.025, 0.105),
        )
        points.update({f'{side}_{name}': p for name, p in own.items()})
    axes = dict(head=head, chest=chest, hips=np.eye(3))
    return Body(points, axes)


def sample_view(rng: np.random.Generator) -> np.ndarray:
    """Rotation from the body's axes to the viewer's: from any side, upright
    in nine of ten pictures.
    """
    roll = rng.normal(0, 18)
    if rng.random() < 0.1:
        roll = rng.uniform(-180, 180)
    yaw = rng.uniform(-180, 180)
    return turn(z=roll) @ turn(x=rng.normal(5, 12)) @ turn(y=yaw)


def sample_colour(rng: np.random.Generator) -> np.ndarray:
    """A colour, mostly not a bright one."""
    colour = rng.uniform(20, 235, 3)
    return colour + rng.uniform(0, 0.9) * (colour.mean() - colour)


def sample_colours(rng: np.random.Generator) -> Dict[str, np.ndarray]:
    """Colours of a person by what they are the colours of."""
    dark, light = np.array([[50, 75, 115], [175, 205, 240]])
    colours = dict(skin=dark + rng.random() * (light - dark))
    hairs = np.array([[20, 22, 28], [35, 55, 80], [90, 150, 190], [160] * 3])
    colours['hair'] = hairs[rng.integers(4)] * rng.uniform(0.8, 1.2)
    for name in ('shirt', 'trousers', 'shoes'):
        colours[name] = sample_colour(rng)
    cover = rng.integers(3)
    colours['upper_arm'] = colours['shirt' if cover else 'skin']
    colours['forearm'] = colours['shirt' if cover == 2 else 'skin']
    colours['hand'] = colours['neck'] = colours['skin']
    colours['thigh'] = colours['trousers']
    colours['shank'] = colours['trousers' if rng.random() < 0.6 else 'skin']
    colours['foot'] = colours['shoes']
    colours['hips'] = colours['trousers']
    colours['trunk'] = colours['shirt']
    colours['head'] = colours['hair']
    colours['trim'] = colours['shirt'] + (70 if rng.random() < 0.5 else -70)
    return colours


def extent(body: Body, girth: float) -> Tuple[np.ndarray, np.ndarray]:
    """Corners (left, low) and (right, high) of a body as it is seen."""
    ends = [
        (*body.points[name][:2], radius * girth)
        for balls in PARTS.values()
        for name, radius in balls.items()
    ]
    centres, radii = np.split(np.array(ends), [2], axis=1)
    return (centres - radii).min(axis=0), (centres + radii).max(axis=0)


def dress(
    body: Body,
    colours: Dict[str, np.ndarray],
    girth: float,
    scale: float,
    origin: np.ndarray,
) -> Person:
    """Make a body a person in the picture.

    Args:
        body (Body): The body as it is seen.
        colours (dict[str, np.ndarray]): Of parts and details.
        girth (float): Factor on the thickness of trunk and limbs.
        scale (float): Pixels of the height of a standing person.
        origin (np.ndarray): x and y of the pelvis in pixels.

    Returns:
        Person: The person.
    """
    points = {
        name: origin + scale * point[:2] * (1, -1)
        for name, point in body.points.items()
    }
    shown_by = {
        f'{side}_{joint}': {IDS[f'{side}_{limb}'] for limb in limbs}
        for side in SIDES
        for joint, limbs in SHOWN_BY.items()
    }
    hidden = set()
    for joint, (part, normal, least) in TURNED.items():
        ids = shown_by.setdefault(joint, set())
        if (body.axes[part] @ normal)[2] < least:
            hidden.add(joint)
        else:
            parts = ('head',) if part == 'head' else ('hips', 'trunk')
            ids.update(IDS[name] for name in parts)
    skin = colours['skin']
    shapes = {}

    def add(part, colour, rounded=False, **balls):
        discs = [(*points[name], r * scale) for name, r in balls.items()]
        shape = Shape(np.array(discs), colour, rounded)
        shapes.setdefault(part, []).append(shape)

    depths = {}
    for part, balls in PARTS.items():
        depths[part] = np.mean([body.points[name][2] for name in balls])
        # Far limbs are a little darker, which helps to tell them apart.
        colour = colours[part.split('_', 1)[-1]] * (1 + 0.4 * depths[part])
        factor = 1 if part == 'head' else girth
        balls = {name: radius * factor for name, radius in balls.items()}
        add(part, colour, True, **balls)
    head = shapes['head'][0].discs
    corners = head[:, :2] - head[:, 2:], head[:, :2] + head[:, 2:]
    trim = colours['trim']
    if body.axes['chest'][2, 2] > 0.15:
        add('trunk', skin, left_collar=0, right_collar=0, collar=0.004)
        add('trunk', trim, collar=0.006, waist_front=0.006)
        add('trunk', trim, waist_front=0.006, belly_front=0.006)
    front = body.axes['head'][2, 2]
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
    return Person(
        points,
        shown_by,
        [(IDS[part], shapes[part]) for part in sorted(depths, key=depths.get)],
        np.stack([corners[0].min(axis=0), corners[1].max(axis=0)]),
    )


def polygon(discs: np.ndarray) -> np.ndarray:
    """Hull of discs (N, 3) as OpenCV's fixed-point coordinates."""
    ring = discs[:, None, :2] + discs[:, None, 2:] * RING
    ring = np.round(ring.reshape(-1, 2) * 2**SHIFT).astype(np.int32)
    return cv2.convexHull(ring)


def paint(
    image: np.ndarray,
    labels: np.ndarray,
    shape: Shape,
    label: int,
    light: np.ndarray,
) -> None:
    """Draw a shape, in place.

    Args:
        image (np.ndarray): Of shape (H, W, 3).
        labels (np.ndarray): What each pixel shows, of shape (H, W).
        shape (Shape): The shape.
        label (int): For the shape's pixels.
        light (np.ndarray): Where the light comes from; x and y, at most 1
            long.
    """
    outline = polygon(shape.discs)
    cv2.fillConvexPoly(labels, outline, label, cv2.LINE_8, SHIFT)
    for size, brightness in SHADES if shape.rounded else ((1, 1),):
        if size < 1:
            discs = shape.discs.copy()
            discs[:, :2] += (1 - size) * 0.6 * discs[:, 2:] * light
            discs[:, 2] *= size
            outline = polygon(discs)
        colour = np.clip(shape.colour * brightness, 0, 255).tolist()
        cv2.fillConvexPoly(image, outline, colour, cv2.LINE_AA, SHIFT)


def background(rng: np.random.Generator, options: Options) -> np.ndarray:
    """Gradients, patches and coarse noise, of shape (H, W, 3)."""
    size = (options.width, options.height)
    cells = rng.integers(2, 5, 2)
    colours = np.array([sample_colour(rng) for _ in range(cells.prod())])
    image = cv2.resize(
        colours.reshape(*cells, 3).astype(np.float32),
        size,
        interpolation=cv2.INTER_CUBIC,
    )
    for _ in range(rng.integers(4)):
        corners = rng.uniform(-0.3, 1.3, (4, 2)) * size
        colour = sample_colour(rng).tolist()
        hull = cv2.convexHull(corners.astype(np.int32))
        cv2.fillConvexPoly(image, hull, colour, cv2.LINE_8)
    # Blotches of a twelfth of the picture.
    noise = rng.normal(0, rng.uniform(3, 25), (12, 12, 1))
    noise = cv2.resize(noise.astype(np.float32), size)
    return np.clip(image + noise[..., None], 0, 255).astype(np.uint8)


def limb_like(
    rng: np.random.Generator, place: np.ndarray, scale: float
) -> List[Shape]:
    """A chain of one to three limbs of a colour of skin or cloth.

    Args:
        rng (np.random.Generator): Source of chance.
        place (np.ndarray): Its beginning, x and y in pixels.
        scale (float): Pixels of the height of a standing person.

    Returns:
        list[Shape]: Its parts.
    """
    colours = sample_colours(rng)
    colour = colours['skin' if rng.random() < 0.5 else 'shirt']
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


def object_in_front(
    rng: np.random.Generator, place: np.ndarray, scale: float
) -> List[Shape]:
    """A ball, box, bar or limb at a place; arguments as :func:`limb_like`."""
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
    rng: np.random.Generator, options: Options
) -> Tuple[List[Person], float]:
    """Put one person or two into the picture.

    Returns:
        tuple[list[Person], float]: The first person, who fills much of the
        picture and is out of it by 6 % at most, perhaps a second beside or
        across; and the pixels of the first one's height when standing.
    """
    size = np.array((options.width, options.height))
    fill = rng.uniform(0.65, 1)
    two = rng.random() < options.second_person
    people = []
    for place in ('first', 'second')[: 1 + two]:
        body = pose(sample_angles(rng)).seen_from(sample_view(rng))
        girth = rng.uniform(0.8, 1.25)
        low, high = extent(body, girth)
        if place == 'first':
            scale = first_scale = fill * (size / (high - low)).min()
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
        people.append(dress(body, colours, girth, scale, origin))
    return people, first_scale


def in_picture(point: np.ndarray, height: int, width: int) -> bool:
    """Whether a point, x and y, lies between the centres of outer pixels."""
    return 0 <= point[0] <= width - 1 and 0 <= point[1] <= height - 1


def draw(
    people: List[Person],
    objects: List[Shape],
    image: np.ndarray,
    light: np.ndarray,
) -> List[Label]:
    """Draw people, from far to near, and objects in front, in place.

    Args:
        people (list[Person]): The people.
        objects (list[Shape]): The objects.
        image (np.ndarray): The background, of shape (H, W, 3).
        light (np.ndarray): As of :func:`paint`.

    Returns:
        list[Label]: What is known of each.
    """
    height, width = image.shape[:2]
    top = np.zeros((height, width), np.uint8)
    silhouettes = []
    for i, person in enumerate(people):
        labels = np.zeros_like(top)
        for part, shapes in person.parts:
            for shape in shapes:
                paint(image, labels, shape, part, light)
        silhouettes.append(labels > 0)
        np.copyto(top, labels + PERSON_STEP * i, where=silhouettes[i])
    for shape in objects:
        paint(image, top, shape, OBJECT, light)
    labels = []
    for i, person in enumerate(people):
        seen = set()
        for joint, ids in person.shown_by.items():
            x, y = person.points[joint]
            if in_picture((x, y), height, width):
                shown = int(top[round(y), round(x)]) - PERSON_STEP * i
                if shown in ids:
                    seen.add(joint)
        labels.append(Label(person, seen, silhouettes[i]))
    return labels


def draw_picture(
    seed: int, number: int, options: Options
) -> Tuple[np.ndarray, List[Label]]:
    """Draw a picture.

    Args:
        seed (int): Of the data set.
        number (int): Of the picture.
        options (Options): How it looks.

    Returns:
        tuple[np.ndarray, list[Label]]: The picture, of shape (H, W, 3), and
        what is known of the first person and, if it can be recognized, of
        the second.
    """
    rng = np.random.default_rng((seed, number))
    size = np.array((options.width, options.height))
    image = background(rng, options)
    angle = rng.uniform(0, 2 * np.pi)
    light = rng.uniform(0.3, 1) * np.array((np.cos(angle), np.sin(angle)))
    people, scale = place_people(rng, options)
    unused = np.zeros(image.shape[:2], np.uint8)
    for _ in range(options.clutter):
        start = rng.uniform(-0.1, 1.1, 2) * size
        for shape in limb_like(rng, start, scale * rng.uniform(0.7, 1.2)):
            paint(image, unused, shape, 1, light)
    objects = []
    if rng.random() < options.occlusion:
        joints = list(people[0].shown_by)
        place = people[0].points[joints[rng.integers(len(joints))]]
        place = place + rng.normal(0, 0.02, 2) * scale
        objects = object_in_front(rng, place, scale)
    # The first is the nearer one in half of the pictures.
    order = slice(None, None, rng.choice([-1, 1]))
    first, *others = draw(people[order], objects, image, light)[order]
    labels = [first, *(o for o in others if len(o.seen) >= MIN_SEEN)]
    image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.3, 0.8))
    noise = rng.standard_normal(image.shape, np.float32)
    noise *= rng.uniform(2, 9)
    noise += image
    return np.clip(noise, 0, 255).astype(np.uint8), labels


def joint_names(meta: dict) -> List[str]:
    """Names of a data set's joints, in its order."""
    return list(parse_pose_metainfo(meta)['keypoint_name2id'])


def coco_category() -> dict:
    """COCO's category, whose links count from 1."""
    meta = parse_pose_metainfo(CocoDataset.METAINFO)
    return dict(
        id=1,
        name='person',
        supercategory='person',
        keypoints=joint_names(CocoDataset.METAINFO),
        skeleton=[[a + 1, b + 1] for a, b in meta['skeleton_links']],
    )


def silhouette_box(silhouette: np.ndarray) -> List[int]:
    """x, y, width and height of the pixels that are set."""
    return list(cv2.boundingRect(silhouette.astype(np.uint8)))


def coco_annotation(label: Label, joints: List[str]) -> dict:
    """COCO's annotation of a person, without ids."""
    height, width = label.silhouette.shape
    keypoints = []
    for joint in joints:
        point = label.person.points[joint]
        if in_picture(point, height, width):
            keypoints += [*point.round(2).tolist(), 1 + (joint in label.seen)]
        else:
            keypoints += [0, 0, 0]
    return dict(
        category_id=1,
        iscrowd=0,
        bbox=silhouette_box(label.silhouette),
        area=int(label.silhouette.sum()),
        num_keypoints=sum(v > 0 for v in keypoints[2::3]),
        keypoints=keypoints,
    )


def mpii_entry(label: Label, joints: List[str]) -> dict:
    """MPII's entry of a person, without the picture's name, and the box of
    the head, which is in a file of its own.
    """
    height, width = label.silhouette.shape
    points = [label.person.points[joint] for joint in joints]
    inside = [in_picture(point, height, width) for point in points]
    x, y, w, h = silhouette_box(label.silhouette)
    scale = max(w, h) / 200
    return dict(
        joints=[
            (point + 1).round(2).tolist() if labelled else [-1.0, -1.0]
            for point, labelled in zip(points, inside)
        ],
        joints_vis=[int(labelled) for labelled in inside],
        # MpiiDataset moves the centre down by 15 scales, and by 1 to count
        # from 0.
        center=[x + w / 2 + 1, y + h / 2 + 1 - 15 * scale],
        scale=scale,
        head_box=label.person.head_box + 1,
    )


def write_coco(root: Path, drawn: Drawn, options: Options) -> None:
    """Write the annotation files of COCO 2017.

    Args:
        root (Path): Folder of the data set.
        drawn (dict[str, dict[int, list[dict]]]): Annotations by part of the
            data set and number of the picture.
        options (Options): How the pictures look.
    """
    for split, pictures in drawn.items():
        coco = dict(
            info=dict(description='Drawn people'),
            images=[
                dict(
                    id=number,
                    file_name=picture_file('coco', split, number).name,
                    height=options.height,
                    width=options.width,
                )
                for number in pictures
            ],
            annotations=[
                dict(id=2 * number + i, image_id=number, **ann)
                for number, anns in pictures.items()
                for i, ann in enumerate(anns)
            ],
            categories=[coco_category()],
        )
        file = root / 'annotations' / f'person_keypoints_{split}2017.json'
        file.write_text(json.dumps(coco))


def write_mpii(root: Path, drawn: Drawn, _: Options) -> None:
    """Write MPII's annotation files; arguments as of :func:`write_coco`."""
    for split, pictures in drawn.items():
        people = [
            dict(image=picture_file('mpii', split, number).name, **person)
            for number, people in pictures.items()
            for person in people
        ]
        boxes = [person.pop('head_box') for person in people]
        file = root / 'annotations' / f'mpii_{split}.json'
        file.write_text(json.dumps(people))
    # The last ones are those for validation.
    buffer = io.BytesIO()
    savemat(buffer, dict(headboxes_src=np.stack(boxes, axis=-1)))
    # SciPy puts the time into the text in front.
    content = b'MATLAB 5.0 MAT-file'.ljust(116) + buffer.getvalue()[116:]
    (root / 'annotations' / 'mpii_gt_val.mat').write_bytes(content)


def picture_file(layout: str, split: str, number: int) -> Path:
    """Path of a picture in the folder of the data set."""
    if layout == 'coco':
        return Path(f'{split}2017', f'{number:012d}.jpg')
    return Path('images', f'{number:09d}.jpg')


LAYOUTS = dict(
    coco=(CocoDataset, coco_annotation, write_coco),
    mpii=(MpiiDataset, mpii_entry, write_mpii),
)


def build(
    root: Path,
    layout: str,
    seed: int,
    counts: Dict[str, int],
    options: Options,
) -> None:
    """Write the whole data set into an empty folder.

    Args:
        root (Path): The folder.
        layout (str): One of ``LAYOUTS``.
        seed (int): Of all that is chance.
        counts (dict[str, int]): Pictures for each part of the data set.
        options (Options): How they look.

    Raises:
        OSError: If something cannot be written.
    """
    dataset, annotate, write = LAYOUTS[layout]
    joints = joint_names(dataset.METAINFO)
    drawn = {}
    for split, count in counts.items():
        print(f'Drawing {count} pictures for {split}', flush=True)
        drawn[split] = {}
        for index in track_iter_progress(range(count)):
            number = index + 1 + FIRST_VAL * (split == 'val')
            image, labels = draw_picture(seed, number, options)
            file = root / picture_file(layout, split, number)
            file.parent.mkdir(parents=True, exist_ok=True)
            quality = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
            if not cv2.imwrite(str(file), image, quality):
                raise OSError(f'OpenCV cannot write {file.name}')
            drawn[split][number] = [annotate(la, joints) for la in labels]
    (root / 'annotations').mkdir()
    write(root, drawn, options)


def is_finished(root: Path, arguments: str) -> bool:
    """Whether a folder has the data set already.

    Args:
        root (Path): The folder.
        arguments (str): What the data set is made with.

    Returns:
        bool: Whether it is there; else the folder is empty or not there.
    """
    stamp = root / STAMP
    if stamp.is_file():
        if stamp.read_text() == arguments:
            return True
        sys.exit(
            f'{root} was made with other arguments or by another version of '
            f'this script (see {STAMP} in it): remove it or choose another '
            '--out.'
        )
    if root.is_file() or (root.is_dir() and any(root.iterdir())):
        sys.exit(
            f'{root} exists but was not made by this script: remove it or '
            'choose another --out.'
        )
    return False


def parse_args() -> argparse.Namespace:
    """Read and check the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        '--out',
        type=Path,
        default=Path('data/people'),
        help='folder of the data set (default: data/people)',
    )
    parser.add_argument(
        '--layout',
        choices=sorted(LAYOUTS),
        default='coco',
        help='whose files to write (default: coco)',
    )
    parser.add_argument(
        '--num-train',
        type=int,
        default=4000,
        help='pictures for training (default: 4000)',
    )
    parser.add_argument(
        '--num-val',
        type=int,
        default=1000,
        help='pictures for validation (default: 1000)',
    )
    parser.add_argument(
        '--size',
        default='256x192',
        metavar='HxW',
        help='height and width of the pictures in pixels (default: 256x192)',
    )
    parser.add_argument(
        '--second-person',
        type=float,
        default=0.3,
        metavar='RATE',
        help='share of the pictures with a second person (default: 0.3)',
    )
    parser.add_argument(
        '--occlusion',
        type=float,
        default=0.3,
        metavar='RATE',
        help='share of the pictures with an object in front of the first '
        'person (default: 0.3)',
    )
    parser.add_argument(
        '--clutter',
        type=int,
        default=6,
        metavar='N',
        help='limb-like shapes behind the people (default: 6)',
    )
    parser.add_argument(
        '--seed',
        type=int,
        default=0,
        help='of all that is chance (default: 0)',
    )
    args = parser.parse_args()
    size = re.fullmatch('([0-9]+)x([0-9]+)', args.size)
    sides = [int(side) for side in size.groups()] if size else [0]
    if not all(MIN_SIZE <= side <= MAX_SIZE for side in sides):
        sys.exit(
            f'--size must be HxW, each {MIN_SIZE} to {MAX_SIZE} pixels, got '
            f'{args.size}.'
        )
    args.size = sides
    for name, low, high in (
        ('num_train', 1, FIRST_VAL - 1),
        ('num_val', 1, FIRST_VAL - 1),
        ('second_person', 0, 1),
        ('occlusion', 0, 1),
        ('clutter', 0, 1000),
        ('seed', 0, 2**32 - 1),
    ):
        value = getattr(args, name)
        if not low <= value <= high:
            option = name.replace('_', '-')
            sys.exit(f'--{option} must be {low} to {high}, got {value}.')
    return args


def main() -> None:
    args = parse_args()
    root = args.out.resolve()
    del args.out
    code = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()
    arguments = json.dumps({**vars(args), 'code': code}, indent=2)
    if is_finished(root, arguments):
        print(f'{root} is there and finished.')
        return
    options = Options(
        *args.size, args.second_person, args.occlusion, args.clutter
    )
    counts = dict(train=args.num_train, val=args.num_val)
    partial = root.with_name(f'{root.name}.partial')
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        build(partial, args.layout, args.seed, counts, options)
        (partial / STAMP).write_text(arguments)
        if root.exists():
            root.rmdir()
        partial.replace(root)
    except OSError as error:
        sys.exit(f'{root} cannot be written ({error}).')
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    print(f'The drawn people are in {root}.')


if __name__ == '__main__':
    main()
