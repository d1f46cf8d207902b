"""Write scikit-learn's 1,797 handwritten digits as pictures.

They lie as MMPretrain's ``CustomDataset`` reads them, in a folder for each
class: the first --num-train below ``train``, the others below ``test``. It is
UCI's test set of optical recognition of handwritten digits, of 8x8 pixels.
"""

import argparse
from pathlib import Path

import cv2
import numpy as np
from sklearn.datasets import load_digits


def write_digits(out: Path, num_train: int) -> None:
    """Write the pictures, PNG in grey from 0 to 240.

    Args:
        out (Path): The folder.
        num_train (int): How many are for training.

    Raises:
        ValueError: If that leaves nothing on either side.
    """
    digits = load_digits()
    total = len(digits.target)
    if not 0 < num_train < total:
        raise ValueError(
            f'--num-train must lie between 1 and {total - 1}, got {num_train}.'
        )
    for i, (image, label) in enumerate(zip(digits.images, digits.target)):
        part = 'train' if i < num_train else 'test'
        folder = out / part / str(label)
        folder.mkdir(parents=True, exist_ok=True)
        # From 0 to 16 in the data.
        grey = (15 * image).astype(np.uint8)
        cv2.imwrite(str(folder / f'{i:04d}.png'), grey)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add('--out', type=Path, default=Path('data', 'digits'))
    add('--num-train', type=int, default=600, help='Defaults to 600.')
    args = parser.parse_args()
    try:
        write_digits(args.out, args.num_train)
    except ValueError as error:
        parser.error(str(error))
    print(f'Wrote {args.out}')


if __name__ == '__main__':
    main()
