"""Draw the poses of the people in a picture, a folder or a video.

Into --out go the drawn pictures or the drawn video (MP4), named like what was
read, and predictions.json: COCO's list of keypoint results, with the name of
the picture as file_name, and for a video with the frame, counted from 0, as
image_id and its time in seconds. What cannot be used is skipped and named.
Ctrl-C and SIGTERM keep what is done.
"""

import argparse
import json
import signal
import sys
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Iterator, List, Optional, Tuple, Union

import cv2
import mmcv
import numpy as np
import torch
from mmcv.transforms import LoadImageFromFile
from mmdet.apis import DetInferencer
from mmdet.datasets.transforms import LoadImageFromNDArray
from mmengine.config import Config
from mmengine.dataset import Compose
from mmengine.structures import InstanceData, PixelData
from mmpose.apis import Pose2DInferencer
from mmpose.codecs import MegviiHeatmap, MSRAHeatmap, UDPHeatmap
from mmpose.datasets.transforms import LoadImage
from mmpose.evaluation.functional import nms
from mmpose.models import TopdownPoseEstimator
from mmpose.registry import TRANSFORMS
from mmpose.structures import PoseDataSample, merge_data_samples

import mmpose_lossplus  # noqa: F401  registers the components
from mmpose_lossplus.experiments import weights
from mmpose_lossplus.experiments.configs import component_class, read_config
from mmpose_lossplus.experiments.files import (
    PICTURES,
    is_cut_off,
    name_in_utf8,
    write_text,
)
from mmpose_lossplus.experiments.progress import track

# What OpenCV, Pillow and PyTorch raise of pictures that they cannot take.
BAD_PICTURE = (AssertionError, AttributeError, LookupError, OSError)
BAD_PICTURE += (RuntimeError, TypeError, ValueError, cv2.error)
FPS = 30  # of a video that does not say

# They take either files or frames; MMPose's takes both, and is the same else.
LOADERS = (LoadImageFromFile, LoadImageFromNDArray)

Source = Union[str, np.ndarray]  # path of a picture, or a BGR frame
Item = Tuple[dict, Source]  # with what names it in the results


class StrictWeights:
    """Mixin of an inferencer that takes only a checkpoint of its model.

    MMEngine warns and leaves the other weights random.
    """

    def _load_weights_to_model(self, model, checkpoint, cfg) -> None:
        weights.load_weights(model, checkpoint)
        super()._load_weights_to_model(model, checkpoint, cfg)


class PersonDetector(StrictWeights, DetInferencer):
    """MMDet's inferencer, for people."""

    def __init__(self, cfg: Config, checkpoint: str, device: str) -> None:
        # Its own backends may be those of a training, as TensorBoard's.
        cfg.visualizer = dict(type='mmdet.DetLocalVisualizer')
        scope = cfg.get('default_scope', 'mmdet')
        super().__init__(
            cfg, checkpoint, device=device, scope=scope, show_progress=False
        )
        classes = list(self.model.dataset_meta['classes'])
        if 'person' not in classes:
            few = ', '.join(classes[:5])
            raise weights.Misfit(f'it has no class "person" but {few}')
        self.person = classes.index('person')

    def find(self, source: Source, score: float, iou: float) -> np.ndarray:
        """Boxes above a score, (N, 5): x1, y1, x2, y2, score."""
        found = self(as_loaded(source, self.pipeline), return_datasamples=True)
        found = found['predictions'][0].pred_instances.cpu().numpy()
        people = (found.labels == self.person) & (found.scores > score)
        boxes = np.c_[found.bboxes, found.scores][people]
        return boxes[nms(boxes, iou)]


class PoseInferencer(StrictWeights, Pose2DInferencer):
    """MMPose's inferencer of a top-down model, for boxes that are given.

    MMPose's own takes the whole picture where there is no box, and draws the
    heatmaps of some codecs up to a cell away from their keypoints.
    """

    def __init__(self, cfg: Config, checkpoint: str, device: str) -> None:
        cfg.data_mode = 'topdown'  # a variable that not every config has
        load = cfg.test_dataloader.dataset.pipeline[0]
        if component_class(load, TRANSFORMS) in LOADERS:
            load.type = LoadImage
        cfg.visualizer = dict(type='PoseLocalVisualizer')
        super().__init__(cfg, checkpoint, device=device)
        model = getattr(self.model, 'module', self.model)  # of a TTA model
        if not isinstance(model, TopdownPoseEstimator):
            kind = type(model).__name__
            raise weights.Misfit(f'{kind} is not a top-down pose model')
        self.decoder = getattr(model.head, 'decoder', None)

    def _init_detector(self, **kwargs) -> None:
        self.detector = None

    def predict(
        self, source: Source, size: tuple, boxes: np.ndarray, shown: List[int]
    ) -> PoseDataSample:
        """Predict the people in boxes (N, 5) of a picture of a size (H, W).

        If heatmaps of keypoints are to be ``shown``, ``pred_fields.heatmaps``
        is (1, H, W), the highest over people and these keypoints at each
        pixel. A keypoint is not at its peak but where the decoder refines it
        to, for MSRAHeatmap a quarter of a cell away.
        """
        self.model.test_cfg['output_heatmaps'] = bool(shown)
        data = dict(self.model.dataset_meta, img_path='')
        key = 'img_path' if isinstance(source, str) else 'img'
        data[key] = as_loaded(source, self.pipeline)
        crops = [
            self.pipeline(dict(data, bbox=box[None, :4], bbox_score=box[4:]))
            for box in boxes.astype(np.float32)
        ]
        people = []
        if crops:
            people = self.forward(self.collate_fn(crops), merge_results=False)
        heatmaps = [self._to_picture(p, shown) for p in people if shown]
        merged = PoseDataSample(pred_instances=InstanceData())
        if people:
            merged = merge_data_samples(people)
        if shown:
            heatmaps.append(np.zeros(size, np.float32))
            heatmaps = np.max(heatmaps, axis=0, keepdims=True)
            merged.pred_fields = PixelData(heatmaps=heatmaps)
        return merged

    def _to_picture(self, person: PoseDataSample, shown: List[int]):
        """The highest heatmap, in pixels of the picture (H, W)."""
        heatmap = person.pred_fields.heatmaps[shown].amax(0)
        del person.pred_fields
        size = np.array(heatmap.shape[::-1])
        # What the decoder's ``decode`` and ``add_pred_to_datasample`` make of
        # the cells of a heatmap.
        if isinstance(self.decoder, UDPHeatmap):
            size = size - 1
        step = person.input_scale / size
        start = person.input_center - person.input_scale / 2
        if isinstance(self.decoder, MegviiHeatmap):
            start = start + step / 2
        matrix = np.c_[np.diag(step), start]
        heatmap = heatmap.float().cpu().numpy()
        return cv2.warpAffine(heatmap, matrix, person.ori_shape[::-1])

    def draw(
        self, image: np.ndarray, sample: PoseDataSample, **options
    ) -> np.ndarray:
        """Draw people into a BGR picture, and below it their heatmaps."""
        size = max(image.shape[:2])
        self.visualizer.radius = max(2, round(size / 240))
        self.visualizer.line_width = max(1, round(size / 400))
        options.update(draw_gt=False, draw_heatmap='pred_fields' in sample)
        rgb = mmcv.bgr2rgb(image)
        drawn = self.visualizer.add_datasample('', rgb, sample, **options)
        drawn = mmcv.rgb2bgr(drawn)
        if 'pred_fields' in sample:
            heatmap = sample.pred_fields.heatmaps
            draw_scale(drawn[len(image) :], heatmap.min(), heatmap.max())
        return drawn


def loader_of(pipeline: Compose):
    """What loads a file."""
    loader = pipeline.transforms[0]
    return getattr(loader, 'from_file', loader)  # of MMDet's inferencer


def color_type(pipeline: Compose) -> str:
    """How a pipeline loads a picture, in the words of ``mmcv.imread``."""
    return getattr(loader_of(pipeline), 'color_type', 'color')


def read_once(
    source: Source, image: np.ndarray, flag: str, pipeline: Compose
) -> Source:
    """A picture as it was read with a flag, if a pipeline would do the same.

    It loads a file for each of the people.
    """
    loader = loader_of(pipeline)
    if type(loader) not in (LoadImage, LoadImageFromFile):
        return source
    same = (loader.color_type, loader.imdecode_backend) == (flag, 'cv2')
    return image if same else source


def as_loaded(source: Source, pipeline: Compose) -> Source:
    """A frame in the colours in which a pipeline would load it."""
    if isinstance(source, str) or 'grayscale' not in color_type(pipeline):
        return source
    return mmcv.bgr2gray(source)


def draw_scale(picture: np.ndarray, low: float, high: float) -> None:
    """Draw the colours of a heatmap and their extremes to the right edge."""
    height, width = picture.shape[:2]
    left = width - max(4, width // 50)
    bar = np.linspace(255, 0, height).astype(np.uint8)[:, None]
    picture[:, left:] = cv2.applyColorMap(bar, cv2.COLORMAP_JET)
    font, size = cv2.FONT_HERSHEY_SIMPLEX, max(0.35, height / 1000)
    for value, y in ((high, 30 * size), (low, height - 10 * size)):
        corner = (left - int(90 * size), int(y))
        for color, line in (((0, 0, 0), 3), ((255, 255, 255), 1)):
            text = f'{value:.2f}'
            cv2.putText(picture, text, corner, font, size, color, line)


def results(names: dict, people: InstanceData) -> List[dict]:
    """COCO's keypoint results of a picture, each with its names.

    The score is that of MMPose's ``CocoMetric``: the box's, times the mean of
    those of the keypoints that are above 0.2.
    """
    entries = []
    for i in range(len(people)):
        scores = people.keypoint_scores[i]
        seen = scores[scores > 0.2]
        points = np.c_[people.keypoints[i], scores].astype(float)
        x1, y1, x2, y2 = people.bboxes[i].tolist()
        entry = dict(
            category_id=1,
            keypoints=points.ravel().round(4).tolist(),
            score=float(people.bbox_scores[i] * (seen.sum() and seen.mean())),
            bbox=[x1, y1, x2 - x1, y2 - y1],
        )
        entries.append({**names, **entry})
    return entries


def list_pictures(paths: List[Path]) -> Iterator[Item]:
    """Pictures, those of COCO by its numbers, others by their order."""
    numbers = {int(p.stem) for p in paths if p.stem.isdecimal()}
    coco = len(numbers) == len(paths)
    for i, path in enumerate(paths):
        number = int(path.stem) if coco else i
        name = name_in_utf8(path.name)
        yield dict(image_id=number, file_name=name), str(path)


class Film:
    """A video to read, and one to write (MP4) with frames as long as its.

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
        # OpenCV 4.11 does not by itself.
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

    def read(self) -> Iterator[Item]:
        video, name = self.open(), name_in_utf8(self.source.name)
        coming = self.thread.submit(video.read)
        for i, time in enumerate(self.times[:-1].round(4).tolist()):
            names = dict(image_id=i, file_name=name, time=time)
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
    add, model = parser.add_argument, ('CONFIG', 'CHECKPOINT')
    add('input', type=Path, help='a picture, a folder of them, or a video')
    text = 'a top-down model of MMPose or of this project'
    add('--pose', nargs=2, metavar=model, required=True, help=text)
    boxes = parser.add_mutually_exclusive_group()
    text = 'a detector of MMDetection with a class "person"'
    boxes.add_argument('--det', nargs=2, metavar=model, help=text)
    text = 'box of a person in pixels, once or more'
    box = dict(nargs=4, type=float, metavar=('X', 'Y', 'W', 'H'))
    boxes.add_argument('--bbox', action='append', **box, help=text)
    folder = Path('work_dirs', 'infer')
    text = f'folder of the results (default: {folder})'
    add('--out', type=Path, default=folder, help=text)
    text = 'replace the results of an earlier run in --out'
    add('--overwrite', action='store_true', help=text)
    device = 'cuda' if torch.cuda.is_available() else 'cpu'
    text = 'cpu, cuda, cuda:1, ... (default: cuda if there is one)'
    add('--device', default=device, help=text)
    text = (
        'draw below each picture the heatmaps over it with their scale: that '
        'of the keypoint NAME, such as nose, or the highest at each pixel'
    )
    add('--heatmaps', nargs='?', const='', metavar='NAME', help=text)
    add('--draw-bbox', action='store_true', help='draw the boxes too')
    for name, text in (
        ('bbox', 'score above which a box is a person'),
        ('nms', 'overlap (IoU) above which two boxes are one person'),
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


def load_inferencer(kind: type, config: str, checkpoint: str, device: str):
    """Build an inferencer, or end the script."""
    with weights.exit_on_misfit(checkpoint, config):
        return kind(read_config(config, {}), checkpoint, device)


def find_boxes(args, detector, source: Source, size: tuple) -> np.ndarray:
    """Boxes of people, (N, 5): x1, y1, x2, y2, score."""
    if detector:
        return detector.find(source, args.bbox_thr, args.nms_thr)
    boxes = np.array(args.bbox or [[0, 0, *size[::-1]]], float)
    boxes[:, 2:] += boxes[:, :2]
    return np.c_[boxes, np.ones(len(boxes))]


def shown_keypoints(pose: PoseInferencer, name: Optional[str]) -> List[int]:
    """Keypoints of --heatmaps."""
    if name is None:
        return []
    codecs = (MSRAHeatmap, MegviiHeatmap, UDPHeatmap)
    combined = getattr(pose.decoder, 'heatmap_type', '') == 'combined'
    if combined or not isinstance(pose.decoder, codecs):
        kind = type(pose.decoder).__name__
        sys.exit(f'--heatmaps needs one heatmap per keypoint, got {kind}.')
    numbers = pose.model.dataset_meta['keypoint_name2id']
    if name and name not in numbers:
        sys.exit(f'--heatmaps {name} is none of {", ".join(numbers)}.')
    return [numbers[name]] if name else list(numbers.values())


def main() -> None:
    args = parse_args()
    # In the C locale, names of pictures need not be printable.
    sys.stdout.reconfigure(errors='backslashreplace')
    folder = args.input.is_dir()
    paths = sorted(args.input.iterdir()) if folder else [args.input]
    paths = [p for p in paths if p.suffix.lower() in PICTURES]
    film = None if paths else Film(args.input, args.out)
    total = len(paths) if paths else len(film.times) - 1
    if not total:
        sys.exit(
            f'The input {args.input} is no folder of pictures, no picture '
            f'({", ".join(PICTURES)}) and no video that OpenCV can read.'
        )
    detector = None
    if args.det:
        detector = load_inferencer(PersonDetector, *args.det, args.device)
    elif not args.bbox:
        print('No box: each picture is taken for the box of one person.')
    # The last to be built sets the default scope, which is MMPose's then.
    pose = load_inferencer(PoseInferencer, *args.pose, args.device)
    shown = shown_keypoints(pose, args.heatmaps)
    flag = 'color'
    if color_type(pose.pipeline) not in ('color', 'grayscale'):
        flag = 'color_ignore_orientation'  # that EXIF data may have

    options = dict(draw_bbox=args.draw_bbox, kpt_thr=args.kpt_thr)
    people, done, skipped, stop = [], 0, [], ''
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C
    try:
        args.out.mkdir(parents=True, exist_ok=True)
        items = film.read() if film else list_pictures(paths)
        for names, source in track(items, 'Poses', total):
            try:
                image = mmcv.imread(source, flag)
                if image is None:
                    raise ValueError('no pixels could be decoded')
                if not film and is_cut_off(Path(source).read_bytes()):
                    raise ValueError('its end is missing')
                size, read = image.shape[:2], (source, image, flag)
                seen = detector and read_once(*read, detector.pipeline)
                boxes = find_boxes(args, detector, seen, size)
                seen = read_once(*read, pose.pipeline)
                sample = pose.predict(seen, size, boxes, shown)
                drawn = pose.draw(image, sample, **options)
                if not film:
                    _, coded = cv2.imencode(Path(source).suffix, drawn)
                    coded = coded.tobytes()
            except BAD_PICTURE as error:
                which = f' {names["image_id"]}' if film else ''
                reason = weights.summary(error)
                skipped.append(f'{names["file_name"]}{which} ({reason})')
                continue
            if film:
                film.write(names, drawn)
            else:
                (args.out / Path(source).name).write_bytes(coded)
            people += results(names, sample.pred_instances)
            done += 1
    except KeyboardInterrupt:
        stop = 'Stopped before the end'
    except OSError as error:
        stop = f'--out {args.out} cannot be written ({error})'
    finally:
        if film:
            film.release()
        try:
            if done:
                write_text(args.out / 'predictions.json', json.dumps(people))
        except OSError as error:
            sys.exit(f'--out {args.out} cannot be written: {error}.')
    kind = 'Frames' if film else 'Pictures'
    print(f'{kind}: {done} of {total}, people: {len(people)}')
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
