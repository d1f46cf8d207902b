"""What fake tools/train.py and tools/test.py begin with."""

ARGUMENTS = """
import argparse, json, pathlib, shutil, sys
parser = argparse.ArgumentParser()
parser.add_argument('config', type=pathlib.Path)
if TEST:
    parser.add_argument('checkpoint', type=pathlib.Path)
    parser.add_argument('--out', type=pathlib.Path)
parser.add_argument('--work-dir', type=pathlib.Path)
parser.add_argument('--launcher')
parser.add_argument('--resume', action='store_true')
parser.add_argument('--auto-scale-lr', action='store_true')
parser.add_argument('--cfg-options', nargs='+', default=[])
args = parser.parse_args()
here = pathlib.Path(__file__).parent
"""
