"""Draw the poses of the people in a picture, a folder or a video.

Into --out go the drawn pictures or the drawn video (MP4), named like what was
read, and predictions.json: COCO's list of keypoint results, with the name of
the picture and for a video with the frame, counted from 0, as image_id.
"""

import argparse
import json
import os
import sys
import tempfile
import textwrap
import time
from pathlib import Path
from typing import (
    Any,
    Callable,
    Dict,
    Iterable,
    Iterator,
    List,
    Optional,
    Tuple,
)

import cv2
import numpy as np
import torch
from mmengine import ProgressBar
from mmengine.config import Config
from mmengine.structures import InstanceData, PixelData
from mmpose.apis import Pose2DInferencer
from mmpose.codecs import MegviiHeatmap, MSRAHeatmap, UDPHeatmap
from mmpose.structures import PoseDataSample, merge_data_samples

import mmpose_lossplus  # noqa: F401  registers the components
from mmpose_lossplus.experiments.weights import Misfit, load_weights, summary

try:
    from mmdet.apis import DetInferencer
except ImportError:  # only --det needs it
    DetInferencer = object

PICTURES = ('.jpg', '.jpeg', '.png', '.bmp', '.ppm', '.tif', '.tiff', '.webp')
VIDEOS = ('.mp4', '.avi', '.mov', '.mkv', '.webm', '.m4v', '.mpg', '.mpeg')
FPS = 25  # of a video that does not say

# Number and name in the results, and the picture, None if unreadable.
Numbered = Tuple[int, str, Optional[np.ndarray]]


class NoPerson(LookupError):
    """A detector has no class ``person``."""


class NobodyFound(LookupError):
    """The detector has found no person."""


class StrictWeights:
    """Mixin of an inferencer that takes only a checkpoint of its model.

    MMEngine warns and leaves the other weights random.
    """

    def _load_weights_to_model(self, model, checkpoint, cfg) -> None:
        load_weights(model, checkpoint)
        super()._load_weights_to_model(model, checkpoint, cfg)


class PersonDetector(StrictWeights, DetInferencer):
    """MMDetection's inferencer, which tells when there is nobody.

    Args:
        cfg (Config): Config of the detector.
        weights (str): Path of its checkpoint.
        bbox_thr (float): Score above which a box is a person.
        device (str): Where to run.

    Raises:
        Misfit: If the weights are not the model's.
        NoPerson: If ``person`` is not among the detector's classes.
    """

    def __init__(
        self, cfg: Config, weights: str, bbox_thr: float, device: str
    ) -> None:
        # Its own backends may be those of a training, as TensorBoard's.
        cfg.visualizer = dict(type='mmdet.DetLocalVisualizer')
        super().__init__(
            cfg,
            weights,
            device=device,
            scope=cfg.get('default_scope', 'mmdet'),
            show_progress=False,
        )
        classes = list(self.model.dataset_meta['classes'])
        if 'person' not in classes:
            few = textwrap.shorten(', '.join(classes), 80, placeholder=' ...')
            raise NoPerson(f'the detector has no class "person" but {few}')
        self.person = classes.index('person')
        self.bbox_thr = bbox_thr

    def __call__(self, inputs, **kwargs) -> dict:
        """Detect.

        Raises:
            NobodyFound: If no box is a person. MMPose's inferencer would take
                the whole picture for one.
        """
        results = super().__call__(inputs, **kwargs)
        found = results['predictions'][0].pred_instances
        people = (found.labels == self.person) & (found.scores > self.bbox_thr)
        if not people.any():
            raise NobodyFound
        return results


class PoseInferencer(StrictWeights, Pose2DInferencer):
    """MMPose's inferencer, with heatmaps where the decoder sees them.

    Args:
        cfg (Config): Config of a top-down model.
        weights (str): Path of its checkpoint.
        detector (PersonDetector, optional): None takes each picture for the
            box of one person.
        device (str): Where to run.

    Raises:
        Misfit: If the weights are not the model's.
    """

    def __init__(
        self,
        cfg: Config,
        weights: str,
        detector: Optional[PersonDetector],
        device: str,
    ) -> None:
        cfg.visualizer = dict(type='PoseLocalVisualizer')  # as above
        super().__init__(cfg, weights, device=device, det_model='whole_image')
        if detector is not None:
            self.detector = detector
            self.det_cat_ids = (detector.person,)

    @property
    def decoder(self) -> Any:
        """Decoder of the model, or of the module of a TTA model."""
        model = getattr(self.model, 'module', self.model)
        return getattr(model.head, 'decoder', None)

    def forward(self, inputs: dict, **kwargs) -> List[PoseDataSample]:
        """Predict the people of one picture.

        Args:
            inputs (dict): A batch of their crops.

        Returns:
            list[:obj:`PoseDataSample`]: One sample with all of them. If the
            model was asked for heatmaps, ``pred_fields.heatmaps`` is
            (1, H, W), the highest over people and keypoints at each pixel of
            the picture. A keypoint is not at its peak but where the decoder
            refines it to, for MSRAHeatmap a quarter of a cell away.
        """
        samples = super().forward(inputs, merge_results=False, **kwargs)
        heatmap = None
        if 'pred_fields' in samples[0]:
            heatmap = np.max([self._to_picture(s) for s in samples], axis=0)
            # The host would merge them too, but those of UDPHeatmap and
            # MegviiHeatmap up to a cell away from their keypoints.
            for sample in samples:
                del sample.pred_fields
        merged = merge_data_samples(samples)
        if heatmap is not None:
            merged.pred_fields = PixelData(heatmaps=heatmap[None])
        return [merged]

    def _to_picture(self, sample: PoseDataSample) -> np.ndarray:
        """Highest heatmap of a crop in pixels of the picture, (H, W)."""
        heatmap = sample.pred_fields.heatmaps.amax(0).float().cpu().numpy()
        size = np.array(heatmap.shape[::-1])
        # What the decoder's ``decode`` and ``add_pred_to_datasample`` make of
        # the cells of a heatmap.
        if isinstance(self.decoder, UDPHeatmap):
            size = size - 1
        step = sample.input_scale / size
        start = sample.input_center - sample.input_scale / 2
        if isinstance(self.decoder, MegviiHeatmap):
            start = start + step / 2
        height, width = sample.ori_shape
        matrix = np.c_[np.diag(step), start]
        return cv2.warpAffine(heatmap, matrix, (width, height))

    def infer(
        self, image: np.ndarray, bbox_thr: float, nms_thr: float, **drawing
    ) -> Tuple[PoseDataSample, np.ndarray]:
        """Predict and draw one picture.

        Args:
            image (np.ndarray): BGR picture (H, W, 3).
            bbox_thr (float): Score above which a box is a person.
            nms_thr (float): Overlap above which two boxes are one person.
            **drawing: Options of the host's ``visualize``.

        Returns:
            tuple:
            - sample (:obj:`PoseDataSample`): All people.
            - drawn (np.ndarray): RGB picture (H, W, 3); with
                ``draw_heatmap`` (2 * H, W, 3), below the heatmaps over the
                picture.
        """
        size = max(image.shape[:2])
        drawing = dict(
            radius=max(2, round(size / 240)),
            thickness=max(1, round(size / 400)),
            return_vis=True,
            **drawing,
        )
        self.update_model_visualizer_settings(**drawing)
        try:
            crops = self.preprocess_single(
                image, 0, bbox_thr=bbox_thr, nms_thr=nms_thr
            )
        except NobodyFound:
            sample = PoseDataSample(
                metainfo=dict(img_path=''), pred_instances=InstanceData()
            )
            none = np.zeros((1, *image.shape[:2]), np.float32)
            sample.pred_fields = PixelData(heatmaps=none)
        else:
            (sample,) = self.forward(self.collate_fn(crops))
        (drawn,) = self.visualize([image], [sample], **drawing)
        return sample, drawn


def results(number: int, name: str, people: InstanceData) -> List[Dict]:
    """People of one picture as COCO's keypoint results.

    The score is that of MMPose's ``CocoMetric``: the box's, times the mean of
    those of the keypoints that are above 0.2.

    Args:
        number (int): ``image_id``.
        name (str): ``file_name``.
        people (:obj:`InstanceData`): Predictions of N people.

    Returns:
        list[dict]: One for each person, with ``keypoints`` as 3K numbers x,
        y, score and ``bbox`` as x, y, width, height, in pixels.
    """
    entries = []
    for i in range(len(people)):
        scores = people.keypoint_scores[i]
        seen = scores[scores > 0.2]
        x1, y1, x2, y2 = people.bboxes[i].tolist()
        score = people.bbox_scores[i] * (seen.mean() if seen.size else 0)
        points = np.c_[people.keypoints[i], scores].astype(float)
        entries.append(
            dict(
                image_id=number,
                file_name=name,
                category_id=1,
                keypoints=points.ravel().round(4).tolist(),
                score=float(score),
                bbox=[x1, y1, x2 - x1, y2 - y1],
            )
        )
    return entries


def find_pictures(path: Path) -> Optional[List[Path]]:
    """Pictures that the input names, None if it is a video.

    Args:
        path (Path): A picture, a folder or a video.

    Returns:
        list[Path]: Sorted by name, those of a folder without its folders.
    """
    if path.is_dir():
        pictures = sorted(
            p for p in path.iterdir() if p.suffix.lower() in PICTURES
        )
        if not pictures:
            sys.exit(f'The folder {path} has no picture ({_list(PICTURES)}).')
    elif not path.exists():
        sys.exit(f'The input {path} does not exist.')
    elif path.suffix.lower() in VIDEOS:
        return None
    elif path.suffix.lower() in PICTURES:
        pictures = [path]
    else:
        sys.exit(
            f'The input {path} is neither a folder nor a picture '
            f'({_list(PICTURES)}) nor a video ({_list(VIDEOS)}).'
        )
    if all(read_picture(picture) is None for picture in pictures):
        what = 'No picture of' if path.is_dir() else 'The picture'
        sys.exit(f'{what} {path} can be read: no pixels could be decoded.')
    return pictures


def _list(suffixes: Tuple[str, ...]) -> str:
    return ', '.join(suffixes)


def read_picture(path: Path) -> Optional[np.ndarray]:
    """BGR picture (H, W, 3), None if it cannot be read."""
    try:
        data = np.fromfile(str(path), np.uint8)
    except OSError:
        return None
    # OpenCV raises an error if there is nothing to decode.
    return cv2.imdecode(data, cv2.IMREAD_COLOR) if data.size else None


def read_pictures(pictures: List[Path]) -> Iterator[Numbered]:
    """Read pictures, those of COCO by its numbers, others by their order."""
    numbers = {int(p.stem) for p in pictures if p.stem.isdecimal()}
    coco = len(numbers) == len(pictures)
    for i, path in enumerate(pictures):
        yield int(path.stem) if coco else i, path.name, read_picture(path)


def read_frames(video: cv2.VideoCapture, name: str) -> Iterator[Numbered]:
    """Read the frames of a video."""
    number = 0
    good, frame = video.read()
    while good:
        yield number, name, frame
        number += 1
        good, frame = video.read()


class Clip:
    """A video to write, MP4 of the size of its first frame.

    Args:
        path (Path): Where.
        fps (float): Frames per second.
    """

    def __init__(self, path: Path, fps: float) -> None:
        self.path, self.fps = path, fps
        self.writer = None
        self.frames = 0

    def write(self, name: str, frame: np.ndarray) -> None:
        """Add an RGB frame (H, W, 3)."""
        if self.writer is None:
            fourcc = cv2.VideoWriter_fourcc(*'mp4v')
            height, width = frame.shape[:2]
            self.writer = cv2.VideoWriter(
                str(self.path), fourcc, self.fps, (width, height)
            )
        self.writer.write(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
        self.frames += 1

    def close(self) -> None:
        """Finish the file.

        Raises:
            OSError: If it lacks frames; OpenCV does not say why.
        """
        self.writer.release()
        written = cv2.VideoCapture(str(self.path)).get(
            cv2.CAP_PROP_FRAME_COUNT
        )
        if written != self.frames:  # OpenCV 5 says -1 if it cannot read it
            raise OSError(
                f'OpenCV wrote {max(0, written):.0f} of {self.frames} frames'
            )


def write_picture(path: Path, drawn: np.ndarray) -> None:
    """Write an RGB picture."""
    image = cv2.cvtColor(drawn, cv2.COLOR_RGB2BGR)
    path.write_bytes(cv2.imencode(path.suffix, image)[1].tobytes())


def load_config(path: str) -> Config:
    """Read a config.

    Args:
        path (str): Its file.

    Returns:
        Config: Of a model and its test pipeline.
    """
    if not Path(path).is_file():
        sys.exit(f'The config {path} does not exist.')
    try:
        cfg = Config.fromfile(path)
    except Exception as error:  # a config is code and can raise anything
        sys.exit(f'The config {path} cannot be read: {summary(error)}.')
    if 'model' not in cfg or 'test_dataloader' not in cfg:
        sys.exit(f'The config {path} has no model or no test_dataloader.')
    return cfg


def load(inferencer: type, config: str, cfg: Config, weights: str, *args):
    """Build an inferencer.

    Args:
        inferencer (type): Its class.
        config (str): File of the config.
        cfg (Config): The config.
        weights (str): File of the checkpoint.
        *args: More arguments of the class.

    Returns:
        BaseInferencer: The inferencer with these weights.
    """
    if not Path(weights).is_file():
        sys.exit(f'The checkpoint {weights} does not exist.')
    try:
        return inferencer(cfg, weights, *args)
    except (Misfit, NoPerson) as error:
        sys.exit(f'The checkpoint {weights} does not fit {config}: {error}.')
    except Exception as error:  # a checkpoint may hold and raise anything
        sys.exit(
            f'The checkpoint {weights} cannot be used with {config}: '
            f'{summary(error)}.'
        )


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        'input',
        type=Path,
        help='a picture, a folder of pictures (not those in its folders), '
        'or a video',
    )
    parser.add_argument(
        '--pose',
        nargs=2,
        required=True,
        metavar=('CONFIG', 'CHECKPOINT'),
        help='a top-down model of MMPose or of this project',
    )
    parser.add_argument(
        '--det',
        nargs=2,
        metavar=('CONFIG', 'CHECKPOINT'),
        help='a detector of MMDetection with a class "person" (default: the '
        'whole picture is the box of one person)',
    )
    parser.add_argument(
        '--out',
        type=Path,
        default=Path('work_dirs/infer'),
        help='folder of the results (default: work_dirs/infer)',
    )
    parser.add_argument(
        '--device',
        default='cuda' if torch.cuda.is_available() else 'cpu',
        help='cpu, cuda, cuda:1, ... (default: cuda if there is one)',
    )
    parser.add_argument(
        '--heatmaps',
        action='store_true',
        help='draw below each picture the predicted heatmaps over it, the '
        'highest at each pixel',
    )
    parser.add_argument(
        '--draw-bbox', action='store_true', help='draw the boxes too'
    )
    for name, default, what in (
        ('bbox', 0.3, 'score above which a box is a person'),
        ('nms', 0.3, 'overlap (IoU) above which two boxes are one person'),
        ('kpt', 0.3, 'score from which a keypoint is drawn'),
    ):
        parser.add_argument(
            f'--{name}-thr',
            type=float,
            default=default,
            metavar='X',
            help=f'{what} (default: {default})',
        )
    return parser.parse_args()


def check(args: argparse.Namespace) -> None:
    """End with a sentence if an option cannot be met."""
    if args.det and DetInferencer is object:
        sys.exit('--det needs MMDetection: run "mim install mmdet".')
    source = args.input if args.input.is_dir() else args.input.parent
    if args.out.resolve() == source.resolve():
        sys.exit(
            f'--out {args.out} is where the input lies, which would be '
            'overwritten: name another folder.'
        )
    there = next(p for p in (args.out, *args.out.parents) if p.exists())
    if not there.is_dir() or not os.access(there, os.W_OK):
        sys.exit(
            f'--out {args.out} cannot be written: {there} is not a folder '
            'that you may write to.'
        )
    try:
        torch.empty(0, device=args.device)
    except (AssertionError, RuntimeError) as error:
        sys.exit(f'--device {args.device} cannot be used: {summary(error)}.')


def load_models(args: argparse.Namespace) -> PoseInferencer:
    """The pose model, with the detector if there is one."""
    config, weights = args.pose
    pose = load_config(config)
    if pose.get('data_mode') != 'topdown':
        sys.exit(
            f'The config {config} is not of a top-down pose model: its '
            f'data_mode is {pose.get("data_mode")}.'
        )
    detector = None
    if args.det:
        cfg = load_config(args.det[0])
        if 'data_mode' in cfg:
            sys.exit(f'The config {args.det[0]} is not of a detector.')
        detector = load(
            *(PersonDetector, args.det[0], cfg, args.det[1]),
            *(args.bbox_thr, args.device),
        )
    # The last to be built sets the default scope, which is MMPose's then.
    inferencer = load(
        PoseInferencer, config, pose, weights, detector, args.device
    )
    decoder = inferencer.decoder
    if args.heatmaps and (
        not isinstance(decoder, (MSRAHeatmap, MegviiHeatmap, UDPHeatmap))
        or getattr(decoder, 'heatmap_type', 'gaussian') != 'gaussian'
    ):
        sys.exit(
            '--heatmaps needs a model with one heatmap per keypoint, got '
            f'{config} with {type(decoder).__name__}.'
        )
    return inferencer


def infer(
    inferencer: PoseInferencer,
    images: Iterable[Numbered],
    total: int,
    write: Callable[[str, np.ndarray], None],
    **options,
) -> Tuple[List[dict], int, List[str]]:
    """Predict, draw and write pictures.

    Args:
        inferencer (PoseInferencer): The models.
        images (Iterable): Number, name and BGR picture of each.
        total (int): How many there are.
        write (Callable): Takes a name and an RGB picture.
        **options: Of :meth:`PoseInferencer.infer`.

    Returns:
        tuple:
        - people (list[dict]): See :func:`results`.
        - done (int): How many pictures were read.
        - skipped (list[str]): Names of the others.
    """
    people, done, skipped = [], 0, []
    bar = ProgressBar(total)
    for number, name, image in images:
        if image is None:
            skipped.append(name)
        else:
            sample, drawn = inferencer.infer(image, **options)
            people += results(number, name, sample.pred_instances)
            write(name, drawn)
            done += 1
        bar.update()
    print()
    return people, done, skipped


def main() -> None:
    args = parse_args()
    pictures = find_pictures(args.input)
    if pictures is None:
        # Else FFmpeg too says why it cannot read a video.
        os.environ.setdefault('OPENCV_FFMPEG_LOGLEVEL', '-8')
        video = cv2.VideoCapture(str(args.input))
        if not video.read()[0]:
            sys.exit(f'The video {args.input} cannot be read by OpenCV.')
        video = cv2.VideoCapture(str(args.input))
        total = int(video.get(cv2.CAP_PROP_FRAME_COUNT))
        images = read_frames(video, args.input.name)
    else:
        total = len(pictures)
        images = read_pictures(pictures)
    check(args)
    inferencer = load_models(args)
    if inferencer.detector is None:
        print('No detector: each picture is taken for the box of one person.')

    start = time.time()
    try:
        args.out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(
            prefix='.partial-', dir=args.out
        ) as folder:
            folder = Path(folder)
            if pictures is None:
                fps = video.get(cv2.CAP_PROP_FPS)
                clip = Clip(
                    folder / f'{args.input.stem}.mp4', fps if fps > 0 else FPS
                )
                write = clip.write
            else:

                def write(name: str, drawn: np.ndarray) -> None:
                    write_picture(folder / name, drawn)

            people, done, skipped = infer(
                inferencer,
                images,
                total,
                write,
                bbox_thr=args.bbox_thr,
                nms_thr=args.nms_thr,
                kpt_thr=args.kpt_thr,
                draw_bbox=args.draw_bbox,
                draw_heatmap=args.heatmaps,
            )
            if pictures is None:
                clip.close()
            (folder / 'predictions.json').write_text(json.dumps(people))
            # Of the same file system, so each is there as a whole.
            for path in folder.iterdir():
                os.replace(path, args.out / path.name)
    except OSError as error:
        sys.exit(f'--out {args.out} cannot be written: {error}.')
    seconds = (time.time() - start) / done
    kind, drawn = 'picture', 'pictures'
    if pictures is None:
        kind, drawn = 'frame', f'video {clip.path.name}'
    print(
        f'{kind.title()}s: {done}, people: {len(people)}, seconds per '
        f'{kind}: {seconds:.2f}'
    )
    if skipped:
        print(f'Skipped {len(skipped)} unreadable: {", ".join(skipped)}')
    if pictures is None and done < total:
        print(f'The video ends after {done} frames, {total} were announced.')
    print(f'The drawn {drawn} and predictions.json are in {args.out}')


if __name__ == '__main__':
    main()
