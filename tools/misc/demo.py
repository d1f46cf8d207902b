"""The main job on real pictures: data, training, test, pictures, table.

With --full it goes the whole way: a person detector is trained too, finds the
boxes for the test, and both draw the poses in a clip. All is written below the
working directory.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import time
from collections import deque
from contextlib import nullcontext
from pathlib import Path

import mmcv
import mmengine
import numpy as np
from mmengine.structures import InstanceData
from mmpose.datasets.datasets.utils import parse_pose_metainfo
from mmpose.evaluation.functional.nms import oks_iou
from mmpose.structures import PoseDataSample
from mmpose.visualization import PoseLocalVisualizer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from mmpose_lossplus.experiments.configs import ROOT, TOOLS
from mmpose_lossplus.experiments.figures import plt
from mmpose_lossplus.experiments.progress import status

LOSSES = ('mse', 'amse', 'rmse', 'fmse', 'anchor', 'hmw')
# What only repeats in the lines of the log.
NOISE = re.compile(r'(lr|time|data_time|loss|coco/A[PR] \(.\)): \S+ *')
CONFIGS = ROOT / 'configs'
DETECTOR = CONFIGS / 'detectors'
DETECTOR /= 'rtmdet_efficientnet-lite0_1xb4-20e_demo-person.py'
BOX_FILE = (
    'person_detection_results/COCO_val2017_detections_AP_H_56_person.json'
)
PEOPLE, COLUMNS = 12, 4  # of the contact sheet
# Threads that wait give their core away: with other work on the machine the
# training takes a fifth of the time, see docs/speed.md.
PATIENT = dict(OMP_WAIT_POLICY='PASSIVE')


def run_step(title: str, script: str, *args) -> float:
    """Run a script of tools/, show what matters of what it prints.

    MMEngine's log opens with some hundred lines of environment and config;
    they are in the log file of the work folder. Scores stay, iterations only
    tell how far it is. Returns the seconds it took.
    """
    console = Console(highlight=False, markup=False)
    console.rule(Text(title, style='bold'), align='left')
    start = time.time()
    logs = script in ('train.py', 'test.py')
    command = [sys.executable, TOOLS / script, *args]
    process = subprocess.Popen(
        [str(part) for part in command],
        env={**PATIENT, **os.environ},
        stdout=subprocess.PIPE if logs else None,
        stderr=subprocess.STDOUT if logs else None,
        encoding='utf-8',
        errors='replace',
    )
    last = deque(maxlen=40)
    # The other scripts have a moving line of their own.
    with status(console) if logs else nullcontext() as show:
        for line in process.stdout or ():
            last.append(line)
            if 'Epoch(' in line:
                text = NOISE.sub('', line.split(' - INFO - ')[-1].strip())
                if 'eta:' in text:
                    show(text)
                else:
                    console.print(text, soft_wrap=True)
    if process.wait():
        sys.stdout.writelines(last)
        sys.exit(f'{script} failed with exit code {process.returncode}.')
    return time.time() - start


def last_checkpoint(folder: Path) -> Path:
    path = folder / 'last_checkpoint'
    return Path(path.read_text(encoding='utf-8'))


def draw_sheet(dump: Path, out: Path) -> None:
    """Draw held-out people of a dump, as labelled and as predicted."""
    people = [p for p in mmengine.load(dump) if p['raw_ann_info']]
    chosen = np.linspace(0, len(people) - 1, min(PEOPLE, len(people)))
    visualizer = PoseLocalVisualizer(radius=4, line_width=2)
    coco = dict(from_file='configs/_base_/datasets/coco.py')  # of MMPose
    visualizer.set_dataset_meta(parse_pose_metainfo(coco))
    rows = -(-len(chosen) // COLUMNS)
    size = (4 * COLUMNS, 3.2 * rows)
    figure = plt.figure(figsize=size, layout='constrained')
    cells = figure.subfigures(rows, COLUMNS, squeeze=False)
    for cell, index in zip(cells.flat, chosen.round().astype(int)):
        person = people[index]
        label = person['raw_ann_info']
        labelled = np.reshape(label['keypoints'], (1, -1, 3)).astype(float)
        predicted = np.ones_like(labelled)
        predicted[..., :2] = person['pred_instances']['keypoints']
        (oks,) = oks_iou(
            *(labelled.ravel(), predicted.reshape(1, -1)),
            *(label['area'], [label['area']]),
            vis_thr=0,
        )
        x, y, w, h = label['bbox']
        size = np.array([0.75, 1]) * max(w / 0.75, h) * 1.2
        corner = (x + w / 2, y + h / 2) - size / 2
        path = Path(person['img_path'])
        image = mmcv.imread(path, channel_order='rgb')
        crop = mmcv.imcrop(image, np.r_[corner, corner + size], pad_fill=255)
        crop = mmcv.imresize(crop, (240, 320))
        cell.suptitle(f'{path.stem}, OKS {oks:.2f}')
        pair = (('label', labelled), ('prediction', predicted))
        for axes, (title, points) in zip(cell.subplots(1, 2), pair):
            keypoints = (points[..., :2] - corner) * 320 / size[1]
            pose = InstanceData(
                keypoints=keypoints, keypoint_scores=points[..., 2]
            )
            sample = PoseDataSample(pred_instances=pose)
            drawn = visualizer.add_datasample('', crop, sample, draw_gt=False)
            axes.imshow(drawn)
            axes.set_title(title)
            axes.axis('off')
    figure.savefig(out)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--loss', default='hmw', choices=LOSSES)
    text = 'mobilenetv3, that of the heatmap-weighting paper, begins with '
    text += 'random weights; efficientnet-lite0 with those of ImageNet '
    text += '(default: %(default)s)'
    choices = ('efficientnet-lite0', 'mobilenetv3')
    parser.add_argument(
        '--backbone', choices=choices, default=choices[0], help=text
    )
    parser.add_argument('--data', type=Path, default=Path('data', 'demo'))
    parser.add_argument('--work-dir', type=Path, default=Path('work_dirs'))
    parser.add_argument('--epochs', type=int, help='fewer, for a quick look')
    text = 'with a detector and a clip'
    parser.add_argument('--full', action='store_true', help=text)
    args = parser.parse_args()

    token = '' if args.loss == 'mse' else f'{args.loss}-'
    pattern = f'demo/td-hm_{args.backbone}-dwattn_{token}1xb*.py'
    (config,) = CONFIGS.glob(pattern)
    work_dir = args.work_dir / f'demo_{args.loss}'
    detector = args.work_dir / 'demo_detector'
    options = ['--cfg-options', f'data_root={args.data}']
    if args.epochs:
        options += [f'train_cfg.max_epochs={args.epochs}']
        options += ['train_cfg.val_interval=1']
        options += ['default_hooks.checkpoint.interval=1']

    script = 'dataset_converters/prepare_demo_data.py'
    run_step('Data', script, '--out', args.data)
    if args.backbone == 'efficientnet-lite0' or args.full:
        run_step('Weights', 'model_converters/efficientnet_lite.py')
    train = ('train.py', config, '--work-dir', work_dir, *options)
    seconds = run_step(f'Training ({args.loss})', *train)
    checkpoint = last_checkpoint(work_dir)
    box_files = {'annotated': None, 'simulated': args.data / BOX_FILE}
    if args.full:
        detect = ('--work-dir', detector, *options)
        run_step('Training (detector)', 'train.py', DETECTOR, *detect)
        found, val = last_checkpoint(detector), 'val2017'
        annotations = args.data / f'annotations/person_keypoints_{val}.json'
        run_step(
            'Person boxes',
            'dataset_converters/detect_persons.py',
            *(DETECTOR, found, '--img-root', args.data / val),
            *('--ann', annotations, '--out', detector / 'boxes.json'),
            '--overwrite',
            *('--max-per-img', 20),  # as many as COCO's keypoint AP looks at
        )
        box_files['detected'] = detector / 'boxes.json'
    table = Table(title=f'Held-out frames, loss: {args.loss}')
    for column in ('person boxes', 'AP', 'AP .5', 'AP .75', 'AR'):
        table.add_column(column, justify='right')
    for boxes, file in box_files.items():
        stem = work_dir / boxes
        more = [f'test_dataloader.dataset.bbox_file={file}'] if file else []
        run_step(
            f'Test with boxes: {boxes}',
            *('test.py', config, checkpoint, '--work-dir', work_dir / 'test'),
            *('--out', f'{stem}.json', '--dump', f'{stem}.pkl'),
            *(*options, *more),
        )
        text = Path(f'{stem}.json').read_text(encoding='utf-8')
        score = json.loads(text)
        keys = ('coco/AP', 'coco/AP .5', 'coco/AP .75', 'coco/AR')
        table.add_row(boxes, *(f'{score[key]:.3f}' for key in keys))
    files = {}
    if args.full:
        clip = args.data / 'clips' / 'cam04.mp4'
        run_step(
            'Clip',
            *('infer.py', clip, '--pose', config, checkpoint, '--overwrite'),
            *('--det', DETECTOR, found, '--out', work_dir / 'clip'),
        )
        files['clip'] = work_dir / 'clip' / clip.name
    files['contact sheet'] = work_dir / 'held_out.png'
    draw_sheet(work_dir / 'annotated.pkl', files['contact sheet'])
    files.update(checkpoint=checkpoint, config=config)

    console = Console()
    console.print()
    console.print(table)
    console.print(f'training        {seconds / 60:.1f} minutes')
    for name, path in files.items():
        line = f'{name:15} {path.absolute()}'
        console.print(line, soft_wrap=True, highlight=False)


if __name__ == '__main__':
    main()
