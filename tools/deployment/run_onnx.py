"""Draw the poses of people by a file of export_onnx.py, without PyTorch.

This script is all that a device needs besides Python, NumPy, OpenCV and ONNX
Runtime, and a model that export_onnx.py wrote with --decode: copy both. All
that it has to know stands in the model's metadata.

Into --out go the drawn pictures or the drawn video (MP4) and
predictions.json, as infer.py writes them: COCO's list of keypoint results,
with file_name, and for a video with the frame, counted from 0, as image_id and
its time in seconds. What cannot be used is skipped and named. Ctrl-C and
SIGTERM keep what is done.
"""

import argparse
import json
import os
import re
import signal
import sys
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Dict, Iterator, List, Optional, Tuple

import cv2
import numpy as np

try:
    import onnxruntime
except ImportError as error:
    sys.exit(f'{error}: run pip install onnxruntime.')

PICTURES = ('.jpg', '.jpeg', '.png', '.bmp', '.ppm', '.tif', '.tiff', '.webp')
FPS = 30  # of a video that does not say
SEEN = 0.2  # score from which a keypoint counts for that of a person


def read_json(path: Path):
    return json.loads(path.read_text(encoding='utf-8'))


def first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), '')


def load(
    path: Path, threads: int
) -> Tuple[onnxruntime.InferenceSession, dict]:
    """A file of export_onnx.py and its metadata.

    Args:
        path (Path): The file.
        threads (int): Of a CPU, 0: all.

    Raises:
        ValueError: If it is something else, or cannot be loaded.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    # Else its threads go on for a while and slow down who comes next.
    options.add_session_config_entry('session.force_spinning_stop', '1')
    try:
        session = onnxruntime.InferenceSession(
            str(path), options, providers=['CPUExecutionProvider']
        )
    except Exception as error:  # its own, which have no common base
        reason, what = first_line(error), 'cannot load it'
        if re.search('opset|IR version', reason, re.IGNORECASE):
            what = 'is too old for it'
        version = onnxruntime.__version__
        raise ValueError(f'onnxruntime {version} {what} ({reason})') from None
    properties = session.get_modelmeta().custom_metadata_map
    try:
        meta = {key: json.loads(text) for key, text in properties.items()}
    except ValueError:
        meta = {}
    if 'mmpose_lossplus' not in meta:
        raise ValueError(
            'its metadata do not say how to use it, as those of a file of '
            'export_onnx.py do'
        )
    return session, meta


class PoseModel:
    """A model and how to use it, as its metadata say.

    Args:
        path (Path): A file of export_onnx.py --decode.
        threads (int): Of a CPU, 0: all.

    Raises:
        ValueError: If it is something else, or cannot be loaded.
    """

    def __init__(self, path: Path, threads: int = 0) -> None:
        self.session, meta = load(path, threads)
        if 'detects' in meta:
            raise ValueError('it is a detector, for --det')
        if not meta.get('decoded'):
            raise ValueError(
                'it gives heatmaps: write it with export_onnx.py --decode'
            )
        self.size = np.array(meta['input_size'])
        self.channels = meta['channels']
        self.mean, self.std = (
            np.float32(meta[key])[:, None, None] for key in ('mean', 'std')
        )
        self.normalizes = meta['normalizes']
        self.padding, self.udp = meta['box_padding'], meta['use_udp']
        self.names = meta['keypoint_names']
        self.links = meta['skeleton_links']
        self.colors = meta['keypoint_colors']
        self.link_colors = meta['skeleton_link_colors']

    def predict(
        self, image: np.ndarray, boxes: np.ndarray
    ) -> Tuple[np.ndarray, np.ndarray]:
        """Keypoints of the people in a BGR picture, all in one batch.

        Args:
            image (np.ndarray): (H, W, 3).
            boxes (np.ndarray): x1, y1, x2, y2 and more (N, 4 or more).

        Returns:
            tuple[np.ndarray, np.ndarray]: Keypoints (N, K, 2) in pixels of
            the picture, and their scores (N, K).
        """
        if not len(boxes):
            return np.zeros((0, len(self.names), 2)), np.zeros(0)
        if self.channels == 'grayscale':
            image = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
        corners = boxes[:, :4].astype(np.float32)
        centers = (corners[:, 2:] + corners[:, :2]) / 2
        scales = (corners[:, 2:] - corners[:, :2]) * self.padding
        # The box grows to the shape of the crop.
        scales = (scales / self.size).max(1, keepdims=True) * self.size
        starts = centers - scales / 2
        crops = [self.crop(image, *box) for box in zip(starts, scales)]
        crops = np.reshape(crops, (len(crops), *self.size[::-1], -1))
        if self.channels == 'RGB':
            crops = crops[..., ::-1]
        crops = crops.transpose(0, 3, 1, 2).astype(np.float32, order='C')
        if not self.normalizes:
            # In place and along rows of pixels, in a tenth of the time.
            crops -= self.mean
            crops /= self.std
        keypoints, scores = self.session.run(
            ['keypoints', 'scores'], dict(image=crops)
        )
        places = keypoints / self.size * scales[:, None] + starts[:, None]
        return places, scores

    def crop(
        self, image: np.ndarray, start: np.ndarray, scale: np.ndarray
    ) -> np.ndarray:
        """A box of a picture at the size of the model's input."""
        # UDP measures from the middle of the first pixel to that of the last.
        step = (self.size - self.udp) / scale
        matrix = np.c_[np.diag(step), -step * start]
        return cv2.warpAffine(image, matrix, self.size.tolist())

    def draw(
        self,
        image: np.ndarray,
        keypoints: np.ndarray,
        scores: np.ndarray,
        threshold: float,
    ) -> None:
        """Draw people (N, K, 2), as far as they are sure, into a picture."""
        size = max(image.shape[:2])
        radius, width = max(2, round(size / 240)), max(1, round(size / 400))
        for points, sure in zip(keypoints, scores >= threshold):
            places = points.astype(int).tolist()
            for (a, b), color in zip(self.links, self.link_colors):
                if sure[a] and sure[b]:
                    ends = places[a], places[b]
                    cv2.line(image, *ends, color[::-1], width, cv2.LINE_AA)
            for place, color, seen in zip(places, self.colors, sure):
                if seen:
                    cv2.circle(image, place, radius, color[::-1], cv2.FILLED)


class PersonDetector:
    """A detector and how to use it, as its metadata say.

    Args:
        path (Path): A file of export_onnx.py.
        threads (int): Of a CPU, 0: all.
        score (float): Above which a box is a person.
        overlap (float): IoU above which two boxes are one person.

    Raises:
        ValueError: If it is something else, or cannot be loaded.
    """

    def __init__(
        self, path: Path, threads: int, score: float, overlap: float
    ) -> None:
        self.session, self.meta = load(path, threads)
        if self.meta.get('detects') != 'person':
            raise ValueError('it is no detector, but for --model')
        self.score, self.overlap = score, overlap

    def find(self, names: dict, image: np.ndarray) -> np.ndarray:
        """Boxes (N, 5) in a BGR picture: x1, y1, x2, y2, score."""
        height, width = image.shape[:2]
        longer, shorter = sorted(self.meta['fits_into'], reverse=True)
        scale = min(longer / max(height, width), shorter / min(height, width))
        size = [int(n * scale + 0.5) for n in (width, height)]
        small = cv2.resize(image, size)
        if self.meta['channels'] == 'RGB':
            small = cv2.cvtColor(small, cv2.COLOR_BGR2RGB)
        # What is added lies to the right and below.
        whole = np.maximum(self.meta['pad_size'] or 1, size)
        step = self.meta['pad_divisor']
        whole = -(-whole // step) * step
        padded = np.empty((1, 3, whole[1], whole[0]), np.float32)
        padded[:] = np.reshape(self.meta['pad_value'], (3, 1, 1))
        padded[0, :, : size[1], : size[0]] = small.transpose(2, 0, 1)
        (found,) = self.session.run(['boxes'], dict(image=padded))
        found = found[found[:, 4] > self.score].astype(float)
        limits = np.array([width, height])
        found[:, :4] /= np.tile(size / limits, 2)
        found[:, :4] = found[:, :4].clip(0, np.tile(limits, 2))
        found = found[(found[:, :2] < found[:, 2:4]).all(1)]
        # Its own NMS comes first: the stricter one alone would leave more,
        # whose rivals it has thrown out itself.
        inner = self.meta['nms_overlap']
        found = without_overlap(found, self.score, inner, margin=0)
        return without_overlap(found, self.score, self.overlap)


def without_overlap(
    boxes: np.ndarray, score: float, overlap: float, margin: int = 1
) -> np.ndarray:
    """Boxes (N, 5) above a score, of two that overlap the better.

    MMPose counts the pixel at the end as inside, MMDet does not.
    """
    sizes = boxes[:, 2:4] - boxes[:, :2] + margin
    kept = cv2.dnn.NMSBoxes(
        np.c_[boxes[:, :2], sizes].tolist(),
        boxes[:, 4].tolist(),
        score,
        overlap,
    )
    return boxes[np.array(kept, int).ravel()]


def results(
    names: dict, boxes: np.ndarray, keypoints: np.ndarray, scores: np.ndarray
) -> List[dict]:
    """COCO's keypoint results of a picture, each with its names.

    The score is the box's, times the mean of those of the keypoints seen.
    """
    entries = []
    for box, points, sure in zip(boxes, keypoints, scores):
        seen = sure[sure > SEEN]
        x1, y1, x2, y2, score = box.tolist()
        entry = dict(
            category_id=1,
            keypoints=np.c_[points, sure].ravel().round(4).tolist(),
            score=float(score * (seen.sum() and seen.mean())),
            bbox=[x1, y1, x2 - x1, y2 - y1],
        )
        entries.append({**names, **entry})
    return entries


class Boxes:
    """Boxes of people: of a file, by hand, or the whole picture.

    Args:
        path (Path, optional): The file, a list of COCO's results.
        by_hand (list, optional): x, y, width and height of each.
        score (float): Above which a box of the file is a person.
        overlap (float): IoU above which two of the file are one person.

    Raises:
        ValueError: If the file is none of boxes.
    """

    def __init__(
        self,
        path: Optional[Path],
        by_hand: Optional[List[list]],
        score: float,
        overlap: float,
    ) -> None:
        self.path, self.by_hand = path, by_hand
        self.thresholds = score, overlap
        self.found: Dict[object, list] = {}
        if not path:
            return
        try:
            # detect_persons.py lists the pictures of a folder beside it.
            listed, files = path.with_suffix('.images.json'), {}
            if listed.exists():
                images = read_json(listed)['images']
                files = {x['id']: x['file_name'] for x in images}
            for entry in read_json(path):
                number = entry['image_id']
                x, y, width, height = map(float, entry['bbox'])
                if not min(width, height) > 0:
                    raise ValueError(f'no width or height in {entry}')
                box = x, y, width, height, float(entry.get('score', 1))
                name = entry.get('file_name', files.get(number))
                # A video's frames share a name.
                key = number if 'time' in entry or name is None else name
                self.found.setdefault(key, []).append(box)
        except (AttributeError, KeyError, OSError, TypeError, ValueError) as e:
            raise ValueError(
                'it must be a list of boxes with image_id, bbox [x, y, w, h] '
                f'and score, got {type(e).__name__}: {first_line(e)}'
            ) from None

    def find(self, names: dict, image: np.ndarray) -> np.ndarray:
        """Boxes (N, 5) of a picture (H, W, 3): x1, y1, x2, y2, score.

        In a file they are found by its name, or by the number that the name
        is; by the order of the pictures they could be another's.
        """
        if self.path:
            number, keys = names['image_id'], [names['file_name']]
            stem = Path(*keys).stem
            if 'time' in names or stem.isdecimal() and int(stem) == number:
                keys.append(number)
            boxes = [box for key in keys for box in self.found.get(key, ())]
            boxes = np.array(boxes, float).reshape(-1, 5)
        else:
            whole = [[0, 0, *image.shape[1::-1]]]
            boxes = np.array(self.by_hand or whole, float)
            boxes = np.c_[boxes, np.ones(len(boxes))]
        boxes[:, 2:4] += boxes[:, :2]
        if self.path:
            boxes = without_overlap(boxes, *self.thresholds)
        return boxes


def read_pictures(paths: List[Path]) -> Iterator[Tuple[dict, np.ndarray]]:
    """Pictures, those of COCO by its numbers, others by their order."""
    numbers = {int(p.stem) for p in paths if p.stem.isdecimal()}
    coco = len(numbers) == len(paths)
    for i, path in enumerate(paths):
        number = int(path.stem) if coco else i
        try:
            data = np.frombuffer(path.read_bytes(), np.uint8)
            image = cv2.imdecode(data, cv2.IMREAD_COLOR)
        except (OSError, cv2.error):
            image = None
        yield dict(image_id=number, file_name=path.name), image


class Video:
    """A video to read, and one to write (MP4) that lasts as long.

    A thread of its own reads the frame that comes and writes the one that is
    drawn, while the model is at work.
    """

    def __init__(self, source: Path, out: Path) -> None:
        self.source, self.path = source, out / f'{source.stem}.mp4'
        self.writer, self.thread = cv2.VideoWriter(), ThreadPoolExecutor(1)
        self.writing: List[Future] = []
        fps = self.open().get(cv2.CAP_PROP_FPS)
        self.fps = fps if 0 < fps <= 240 else FPS
        self.times = self.read_times()

    def open(self) -> cv2.VideoCapture:
        """The video, whose frames are turned upright."""
        video = cv2.VideoCapture(str(self.source))
        # Some versions of OpenCV do not by themselves.
        video.set(cv2.CAP_PROP_ORIENTATION_AUTO, 1)
        return video

    def read_times(self) -> np.ndarray:
        """Seconds from the first frame to each, regular or not, and the end.

        The last is taken to stay for as long as the one before it.
        """
        video, times = self.open(), []
        while video.grab():
            times.append(video.get(cv2.CAP_PROP_POS_MSEC) / 1000)
        times = np.maximum.accumulate(np.subtract(times, times[:1]))
        if len(times) < 2 or times[-1] == 0:  # OpenCV does not know them all
            return np.arange(len(times) + 1) / self.fps
        return np.append(times, 2 * times[-1] - times[-2])

    def read(self) -> Iterator[Tuple[dict, np.ndarray]]:
        video = self.open()
        coming = self.thread.submit(video.read)
        for i, time in enumerate(self.times[:-1].round(4).tolist()):
            names = dict(image_id=i, file_name=self.source.name, time=time)
            _, frame = coming.result()
            coming = self.thread.submit(video.read)
            yield names, frame

    def write(self, names: dict, drawn: np.ndarray) -> None:
        if not self.writer.isOpened():
            fourcc = cv2.VideoWriter_fourcc(*'mp4v')
            size = drawn.shape[1::-1]
            if not self.writer.open(str(self.path), fourcc, self.fps, size):
                raise OSError(f'OpenCV cannot write {self.path.name}')
        i = names['image_id']
        first, last = np.round(self.times[i : i + 2] * self.fps).astype(int)
        for written in self.writing:
            written.result()  # or what went wrong
        self.writing = [
            self.thread.submit(self.writer.write, drawn)
            for _ in range(first, last)
        ]

    def release(self) -> None:
        """End the video that is written."""
        self.thread.shutdown()
        self.writer.release()


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add('input', type=Path, help='a picture, a folder of them, or a video')
    text = 'a file of export_onnx.py --decode'
    add('--model', type=Path, required=True, help=text)
    boxes = parser.add_mutually_exclusive_group()
    text = (
        "COCO's list of results with image_id, bbox and score, as "
        'detect_persons.py writes it; image_id is the frame of a video, the '
        'number that is the name of a picture, or there is a file_name'
    )
    boxes.add_argument('--boxes', type=Path, metavar='FILE', help=text)
    text = 'a detector, as export_onnx.py writes it'
    boxes.add_argument('--det', type=Path, metavar='FILE', help=text)
    text = 'box of a person in pixels, once or more'
    box = dict(nargs=4, type=float, metavar=('X', 'Y', 'W', 'H'))
    boxes.add_argument('--bbox', action='append', **box, help=text)
    folder = Path('work_dirs', 'run_onnx')
    text = f'folder of the results (default: {folder})'
    add('--out', type=Path, default=folder, help=text)
    text = 'replace the results of an earlier run in --out'
    add('--overwrite', action='store_true', help=text)
    text = 'threads of the CPU (default: as many as it has cores)'
    add('--threads', type=int, default=0, metavar='N', help=text)
    for name, text in (
        ('bbox', 'score above which a box is a person, but for --bbox'),
        ('nms', 'overlap (IoU) above which two of these are one person'),
        ('kpt', 'score from which a keypoint is drawn'),
    ):
        text = f'{text} (default: 0.3)'
        add(f'--{name}-thr', type=float, default=0.3, metavar='X', help=text)
    args = parser.parse_args()
    for box in args.bbox or ():
        if not (np.isfinite(box).all() and min(box[2:]) > 0):
            parser.error(f'--bbox needs a width and a height, got {box}.')
    if not args.input.exists():
        sys.exit(f'The input {args.input} does not exist.')
    source = args.input if args.input.is_dir() else args.input.parent
    if args.out.resolve() == source.resolve():
        sys.exit(f'--out {args.out} is where the input lies: name another.')
    if (args.out / 'predictions.json').exists() and not args.overwrite:
        sys.exit(
            f'--out {args.out} has the predictions of an earlier run: name '
            'another folder, or add --overwrite.'
        )
    return args


def main() -> None:
    args = parse_args()
    folder = args.input.is_dir()
    paths = sorted(args.input.iterdir()) if folder else [args.input]
    paths = [p for p in paths if p.suffix.lower() in PICTURES]
    video: Optional[Video] = None if paths else Video(args.input, args.out)
    total = len(paths) if paths else len(video.times) - 1
    if not total:
        sys.exit(
            f'The input {args.input} is no folder of pictures, no picture '
            f'({", ".join(PICTURES)}) and no video that OpenCV can read.'
        )
    try:
        model = PoseModel(args.model, args.threads)
    except ValueError as error:
        sys.exit(f'The model {args.model} cannot be used: {error}.')
    thresholds = args.bbox_thr, args.nms_thr
    try:
        if args.det:
            boxes = PersonDetector(args.det, args.threads, *thresholds)
        else:
            boxes = Boxes(args.boxes, args.bbox, *thresholds)
    except ValueError as error:
        what, path = 'detector', args.det
        if args.boxes:
            what, path = 'file of boxes', args.boxes
        sys.exit(f'The {what} {path} cannot be used: {error}.')
    if not (args.boxes or args.bbox or args.det):
        print('No box: each picture is taken for the box of one person.')

    people, done, skipped, stop = [], 0, [], ''
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C
    try:
        args.out.mkdir(parents=True, exist_ok=True)
        for names, image in video.read() if video else read_pictures(paths):
            try:
                if image is None:
                    raise ValueError('no pixels could be decoded')
                found = boxes.find(names, image)
                keypoints, scores = model.predict(image, found)
                model.draw(image, keypoints, scores, args.kpt_thr)
                if not video:
                    suffix = Path(names['file_name']).suffix
                    _, coded = cv2.imencode(suffix, image)
            except (ValueError, cv2.error) as error:
                which = f' {names["image_id"]}' if video else ''
                reason = first_line(error)
                skipped.append(f'{names["file_name"]}{which} ({reason})')
                continue
            if video:
                video.write(names, image)
            else:
                (args.out / names['file_name']).write_bytes(coded.tobytes())
            people += results(names, found, keypoints, scores)
            done += 1
            if sys.stdout.isatty():
                print(f'\r{done} of {total}', end='\r')
    except KeyboardInterrupt:
        stop = 'Stopped before the end'
    except OSError as error:
        stop = f'--out {args.out} cannot be written ({error})'
    if video:
        video.release()
    try:
        if done:
            partial = args.out / 'predictions.json.partial'
            partial.write_text(json.dumps(people), encoding='utf-8')
            os.replace(partial, args.out / 'predictions.json')
    except OSError as error:
        sys.exit(f'--out {args.out} cannot be written: {error}.')
    kind = 'Frames' if video else 'Pictures'
    print(f'{kind}: {done} of {total}, people: {len(people)}')
    if args.boxes and done and not people:
        print(
            f'No box of {args.boxes} is of {args.input}: they are found by '
            'file_name, or where image_id is the number that a name is.'
        )
    unseen = sum(max(p['keypoints'][2::3]) < args.kpt_thr for p in people)
    if unseen:
        print(f'Of {unseen} no keypoint reaches --kpt-thr {args.kpt_thr}.')
    if skipped:
        print(f'Skipped {len(skipped)}: {", ".join(skipped)}')
    if not done:
        sys.exit(f'{stop or "Nothing could be used"}: no results.')
    print(f'What was drawn and predictions.json are in {args.out}')
    if stop:
        sys.exit(f'{stop}: the rest is missing.')


if __name__ == '__main__':
    main()
