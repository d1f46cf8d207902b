"""Write a top-down pose model as an ONNX file, checked against PyTorch.

Or a detector: an RTMDet of MMDet with a class "person", for run_onnx.py --det.
A pose model:

It takes a batch of any size of crops of people and gives the heatmaps (those
of the last stage if there are several), or the two vectors of SimCC. Flip test
and decoding are the caller's, or with --flip-test and --decode the file's. Its
metadata are what a caller has to know. With --int8 or --fp16 it is smaller,
and what that costs is measured: the score of the config's validation, with
annotated boxes.
"""

import argparse
import sys
import time
from contextlib import suppress
from copy import deepcopy
from functools import partial
from pathlib import Path
from typing import Dict, List

from mmengine.config import Config

from mmpose_lossplus.experiments.configs import missing_data, walk
from mmpose_lossplus.experiments.files import replace
from mmpose_lossplus.experiments.scores import take_score
from mmpose_lossplus.experiments.timing import compare_times
from mmpose_lossplus.experiments.weights import load_from_file, summary

try:
    from mmpose_lossplus.experiments import (
        export,
        export_detector,
        quantization,
    )
except ImportError as error:
    sys.exit(f'{error}: run pip install "mmpose_lossplus[export]".')

TOLERANCE = 1e-4  # of the largest value
CHANGE = 0.1  # root mean square of int8 or fp16, of that of the values
ROUNDS = 20
PIXELS = 0.01


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    text = 'of a top-down model, or of a detector'
    parser.add_argument('config', help=text)
    parser.add_argument(
        'checkpoint',
        nargs='?',
        help='its weights, file or URL (default: random, for benchmarks)',
    )
    parser.add_argument('--out', type=Path, required=True, help='ONNX file')
    parser.add_argument(
        '--split-deconv',
        action='store_true',
        help='rewrite the light head without deconvolutions: the same '
        'heatmaps, sooner in ONNX Runtime and OpenVINO on a CPU',
    )
    parser.add_argument(
        '--normalize',
        action='store_true',
        help='take pixels from 0 to 255 and apply mean and std inside',
    )
    parser.add_argument(
        '--flip-test',
        action='store_true',
        help='average with the heatmaps of the mirrored crop inside',
    )
    parser.add_argument(
        '--decode',
        action='store_true',
        help='give keypoints in pixels of the crop, and their scores, as the '
        "config's codec decodes them, instead of heatmaps",
    )
    bits = parser.add_mutually_exclusive_group()
    bits.add_argument(
        '--int8',
        metavar='CONFIG_OR_FOLDER',
        help='put the network into 8 bits, with the ranges that its numbers '
        'have on the training data of a config, such as the first argument, '
        'or on the pictures of a folder, each the box of one person',
    )
    bits.add_argument(
        '--fp16', action='store_true', help='put the network into 16 bits'
    )
    parser.add_argument(
        '--opset', type=int, default=export.OPSET, help="of ONNX's operators"
    )
    # The checkpoint may come after --out too.
    args = parser.parse_intermixed_args()
    if not args.out.parent.is_dir() or args.out.is_dir():
        parser.error(f'--out needs a file in a folder, got {args.out}')
    return args


def write(path: Path, model: export.onnx.ModelProto, difference: float):
    """Write a model that does not differ too much, or end the script."""
    if not difference <= TOLERANCE:  # a NaN is not either
        sys.exit(
            f'{path} was not written: ONNX Runtime differs from PyTorch '
            f'by {difference:.1e} of the largest value.'
        )
    replace(path, lambda path: path.write_bytes(model.SerializeToString()))
    print(
        f'Wrote {path}; ONNX Runtime differs from PyTorch by '
        f'{difference:.1e} of the largest value'
    )


def load(net, args: argparse.Namespace) -> str:
    """Load the checkpoint, or say that there is none; its name."""
    if not args.checkpoint:
        print('NO CHECKPOINT: the weights are RANDOM, good for speed alone.')
        return 'random'
    load_from_file(net.model, args.checkpoint, args.config)
    return args.checkpoint


def export_pose(args: argparse.Namespace, cfg: Config) -> None:
    try:
        net = export.random_model(cfg, args.normalize)
    except Exception as error:  # a config is code and can raise anything
        sys.exit(f'{args.config} gives no top-down model: {summary(error)}.')
    people = None
    if args.int8:
        try:
            people = quantization.calibration_people(cfg, args.int8)
        except Exception as error:  # theirs are of many kinds
            sys.exit(f'--int8 cannot calibrate: {summary(error)}.')
    weights = load(net, args)
    try:
        if args.flip_test:
            indices = export.metainfo(cfg).get('flip_indices', [])
            net.add_flip_test(indices, net.model.test_cfg)
        if args.decode:
            net.add_decoder()
        metadata = export.describe(cfg, net, weights)
        model = export.to_onnx(net, args.split_deconv, args.opset, metadata)
        session = export.load_session(export.with_heatmaps(model))
        difference = export.relative_difference(net, session)
        pixels = 0.0
        if args.decode:
            pixels = export.decoding_difference(net, session)
    except Exception as error:  # theirs are of many kinds
        sys.exit(f'{args.config} cannot be exported: {summary(error)}.')
    if not pixels <= PIXELS:
        sys.exit(
            f"{args.out} was not written: its keypoints differ from MMPose's "
            f'by {pixels:.1e} pixels.'
        )
    exported = model
    if args.int8 or args.fp16:
        model = shrink(args, net, exported, people)
    write(args.out, model, difference)
    if args.decode:
        print(f"Its keypoints differ from MMPose's by {pixels:.1e} pixels")
    if model is not exported:
        kind = 'int8' if args.int8 else 'fp16'
        compare(args, cfg, net, {'fp32': exported, kind: model})


def shrink(
    args: argparse.Namespace,
    net: export.Deployed,
    model: export.onnx.ModelProto,
    people: List[dict],
) -> export.onnx.ModelProto:
    """Put a model into int8 or fp16, and say what that changes."""
    try:
        if args.int8:
            crops = quantization.crops_of(net, people)
            print(f'Calibrating with {len(crops)} crops', flush=True)
            small, floats = quantization.to_int8(model, crops)
            kept = [f'{k} ({v**0.5:.1%})' for k, v in floats.items()]
            print(
                'In fp32 stay, with what they would change: '
                f'{", ".join(kept) or "none"}'
            )
        else:
            crops = net.random_input(8).numpy()
            small = quantization.to_fp16(model)
        change = quantization.error_of(small, model, crops) ** 0.5
    except Exception as error:  # theirs are of many kinds
        sys.exit(f'{args.config} cannot be quantized: {summary(error)}.')
    if not change <= CHANGE:
        sys.exit(f'{args.out} was not written: it changes by {change:.1%}.')
    print(f'What the network gives changes by {change:.2%} (RMS)')
    return small


def compare(
    args: argparse.Namespace,
    cfg: Config,
    net: export.Deployed,
    models: Dict[str, export.onnx.ModelProto],
) -> None:
    """Print accuracy, size and time of models, the first in fp32."""
    name, scores = '', dict.fromkeys(models, '')
    for _, part in walk(cfg.get('val_dataloader')):
        if isinstance(part, dict) and part.get('bbox_file'):
            part['bbox_file'] = None  # a detector's take long, and tell less
    missing = 'the weights are random.'
    if args.checkpoint:
        missing = missing_data(cfg, ['val_dataloader', 'val_evaluator'])
    try:
        for kind, model in () if missing else models.items():
            metrics = quantization.evaluate(cfg, net, model)
            with suppress(AttributeError, ValueError):  # none is known
                name = take_score(deepcopy(cfg))
            if name not in metrics:
                name = next(iter(metrics))
            scores[kind] = f'{metrics[name]:.4f}'
    except Exception as error:  # theirs are of many kinds
        missing = f'{summary(error)}.'
    if missing:
        print(f'Accuracy was not measured: {missing}')
    image = dict(image=net.random_input(1).numpy())
    sessions = {k: export.load_session(m, 1) for k, m in models.items()}
    steps = {k: partial(s.run, None, image) for k, s in sessions.items()}
    # Of one thread, and so without what else the machine does.
    clock = dict(timer=time.process_time)
    times = compare_times(steps, 'fp32', ROUNDS, 1, **clock)
    row = '{:4}  {:>8}  {:>6}  {:>20}  {:>20}'.format
    print(row('', name, 'MB', 'ms of one CPU', 'ratio'))
    for kind, (_, milliseconds, ratio) in times.items():
        size = f'{models[kind].ByteSize() / 1e6:.2f}'
        print(row(kind, scores[kind], size, milliseconds, ratio))


def export_person_detector(args: argparse.Namespace, cfg: Config) -> None:
    given = ('flip_test', 'decode', 'normalize', 'split_deconv')
    given += ('int8', 'fp16')
    given = [f'--{x.replace("_", "-")}' for x in given if getattr(args, x)]
    if given:
        sys.exit(f'{args.config} is a detector, without {", ".join(given)}.')
    try:
        net = export_detector.random_detector(cfg)
    except Exception as error:  # a config is code and can raise anything
        sys.exit(f'{args.config} cannot be exported: {summary(error)}.')
    weights = load(net, args)
    try:
        metadata = export_detector.describe_detector(cfg, net, weights)
        model = export_detector.detector_to_onnx(net, args.opset, metadata)
        session = export.load_session(model)
        difference = export_detector.detector_difference(net, session)
    except Exception as error:  # theirs are of many kinds
        sys.exit(f'{args.config} cannot be exported: {summary(error)}.')
    write(args.out, model, difference)


def main() -> None:
    args = parse_args()
    try:
        cfg = Config.fromfile(args.config)
        detects = export_detector.is_detector(cfg)
    except Exception as error:  # a config is code and can raise anything
        sys.exit(f'{args.config} gives no top-down model: {summary(error)}.')
    (export_person_detector if detects else export_pose)(args, cfg)


if __name__ == '__main__':
    main()
