"""The main job on real pictures: data, training, test, pictures, table.

With --full it goes the whole way: a person detector is trained too, finds the
boxes for the test, and both draw the poses in a clip.
"""

import argparse
import json
import re
import subprocess
import sys
import time
from collections import deque
from pathlib import Path
from typing import Optional

from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parents[2]
LOSSES = ('mse', 'amse', 'rmse', 'fmse', 'anchor', 'hmw')
# What only repeats in the lines of the log.
NOISE = re.compile(r'(lr|time|data_time|loss|coco/A[PR] \(.\)): \S+ *')
DETECTOR = Path('configs', 'detectors', 'rtmdet-nano_1xb4-30e_demo-person.py')
CLIP = Path('clips', 'cam04.mp4')
BOX_FILE = (
    'person_detection_results/COCO_val2017_detections_AP_H_56_person.json'
)


def run(title: str, script: str, *args) -> float:
    """Run a script of tools/, show what matters of what it prints.

    MMEngine's log opens with some hundred lines of environment and config;
    they are in the log file of the work folder.

    Returns:
        float: The seconds it took.
    """
    Console().rule(f'[bold]{title}', align='left')
    start = time.time()
    command = [sys.executable, ROOT / 'tools' / script, *args]
    process = subprocess.Popen(
        [str(part) for part in command],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    by_mmengine = script in ('train.py', 'test.py')
    last = deque(maxlen=40)
    for line in process.stdout:
        last.append(line)
        if 'task/s' in line:  # MMEngine's progress bar, made for a terminal
            continue
        if not by_mmengine:
            print(line, end='', flush=True)
        elif 'Epoch(' in line:
            text = line.split(' - INFO - ')[-1].strip()
            print(NOISE.sub('', text), flush=True)
    if process.wait():
        sys.stdout.writelines(last)
        sys.exit(f'{script} failed with exit code {process.returncode}.')
    return time.time() - start


def train_detector(data: Path, work_dir: Path, epochs: Optional[int]) -> Path:
    """Train the demo's person detector and let it find the held-out people.

    Returns:
        Path: Folder with its checkpoint and its ``boxes.json``.
    """
    folder = work_dir / 'demo_detector'
    options = ['--cfg-options', f'data_root={data}']
    if epochs:
        options += [f'train_cfg.max_epochs={epochs}']
        options += ['default_hooks.checkpoint.interval=1']
    config = ROOT / DETECTOR
    common = ('--work-dir', folder, *options)
    run('Training (detector)', 'train.py', config, *common)
    weights = (ROOT / folder / 'last_checkpoint').read_text()
    val = 'val2017'
    run(
        'Person boxes',
        'dataset_converters/detect_persons.py',
        *(config, weights, '--img-root', data / val),
        *('--ann', data / f'annotations/person_keypoints_{val}.json'),
        # As many as COCO's keypoint AP looks at.
        *('--max-per-img', '20', '--out', folder / 'boxes.json'),
    )
    return folder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--loss', default='hmw', help=', '.join(LOSSES))
    parser.add_argument('--data', type=Path, default=Path('data', 'demo'))
    parser.add_argument('--work-dir', type=Path, default=Path('work_dirs'))
    parser.add_argument('--epochs', type=int, help='fewer, for a quick look')
    parser.add_argument(
        '--full', action='store_true', help='with a detector and a clip'
    )
    args = parser.parse_args()
    if args.loss not in LOSSES:
        sys.exit(f'LOSS must be one of {", ".join(LOSSES)}, got {args.loss}.')

    token = '' if args.loss == 'mse' else f'{args.loss}-'
    (config,) = (ROOT / 'configs' / 'demo').glob(
        f'td-hm_mobilenetv3-dwattn_{token}1xb*.py'
    )
    work_dir = args.work_dir / f'demo_{args.loss}'

    run('Data', 'dataset_converters/prepare_demo_data.py', '--out', args.data)
    options = ['--cfg-options', f'data_root={args.data}']
    if args.epochs:
        options += [f'train_cfg.max_epochs={args.epochs}']
        options += ['train_cfg.val_interval=1']
        options += ['default_hooks.checkpoint.interval=1']
    seconds = run(
        f'Training ({args.loss})',
        'train.py',
        *(config, '--work-dir', work_dir, *options),
    )
    checkpoint = Path((ROOT / work_dir / 'last_checkpoint').read_text())
    box_files = {'simulated': args.data / BOX_FILE}
    if args.full:
        detector = train_detector(args.data, args.work_dir, args.epochs)
        box_files['detected'] = detector / 'boxes.json'
    scores = {}
    for boxes in ('annotated', *box_files):
        more = []
        if boxes in box_files:
            more = [f'test_dataloader.dataset.bbox_file={box_files[boxes]}']
        stem = work_dir / boxes
        run(
            f'Test with boxes: {boxes}',
            'test.py',
            *(config, checkpoint, '--work-dir', work_dir / 'test'),
            *('--out', f'{stem}.json', '--dump', f'{stem}.pkl'),
            *(*options, *more),
        )
        scores[boxes] = json.loads((ROOT / f'{stem}.json').read_text())

    sheet, curve = work_dir / 'held_out.png', work_dir / 'training.png'
    tools = 'analysis_tools'
    predictions = work_dir / 'annotated.pkl'
    run('Pictures', f'{tools}/draw_predictions.py', predictions, sheet)
    run('Curves', f'{tools}/plot_training.py', work_dir, curve)

    if args.full:
        clip = work_dir / 'clip'
        weights = (ROOT / detector / 'last_checkpoint').read_text()
        run(
            'Clip',
            'infer.py',
            *(args.data / CLIP, '--pose', config, checkpoint),
            *('--det', ROOT / DETECTOR, weights, '--out', clip),
        )

    table = Table(title=f'Held-out frames, loss: {args.loss}')
    for column in ('person boxes', 'AP', 'AP .5', 'AP .75', 'AR'):
        table.add_column(column, justify='right')
    for boxes, score in scores.items():
        keys = ('coco/AP', 'coco/AP .5', 'coco/AP .75', 'coco/AR')
        table.add_row(boxes, *(f'{score[key]:.3f}' for key in keys))
    console = Console()
    console.print()
    console.print(table)
    console.print(f'training        {seconds / 60:.1f} minutes')
    files = {'clip': clip / CLIP.name} if args.full else {}
    for name, path in (
        *files.items(),
        ('contact sheet', sheet),
        ('training curve', curve),
        ('checkpoint', checkpoint),
        ('config', config),
    ):
        console.print(f'{name:15} {path}', soft_wrap=True, highlight=False)


if __name__ == '__main__':
    main()
