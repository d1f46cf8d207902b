"""Scripts in processes of their own: logs, locks, launchers."""

import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from mmengine.config import Config

from mmpose_lossplus.experiments import trainings
from mmpose_lossplus.experiments.files import lock
from mmpose_lossplus.experiments.host_scripts import LOCK

DONE = 'train.py has finished.'


@pytest.fixture
def step(tmp_path):
    script = tmp_path / 'train.py'
    return trainings.Step(script, tmp_path, 'c.py', Config(), ['a=1'], 2)


@pytest.fixture
def execute(step):
    """Run other lines as the script, and see how it ended."""

    def execute_lines(*lines):
        step.script.write_text('\n'.join(lines))
        process = trainings.start(step, [sys.executable, str(step.script)])
        process.wait()
        trainings.check(step, process)

    return execute_lines


@pytest.mark.parametrize('lines', [['print("Killed?")'], [], ['exit(3)']])
def test_an_older_run_does_not_count(step, execute, lines):
    """Exit code 0 is not enough, nor that an older run was done."""
    execute(f'print("{DONE}")')
    assert step.ended_well
    with pytest.raises(trainings.StepError, match=str(step.log)):
        execute(*lines)
    assert not step.ended_well
    assert DONE in step.log.read_text()


def test_progress_is_that_of_the_newest_run(step, execute):
    assert step.progress() == ''
    line = 'Epoch(train)  [2][ 1/10]  lr: 1e-3  loss: 0.5'
    execute(f'print("11/11 - mmengine - INFO - {line}")', f'print("{DONE}")')
    assert step.progress() == 'Epoch(train) [2][ 1/10] loss: 0.5'
    execute(f'print("{DONE}")')
    assert step.progress() == ''


@pytest.mark.parametrize(
    ('own', 'reason'), [('A: no data.', 'A: no data.'), ('', 'No output')]
)
def test_why_a_launched_training_ended(execute, own, reason):
    """The script's own words of this run, not the launcher's after them."""
    with pytest.raises(trainings.StepError, match=f'^{reason} .*code 1'):
        execute(
            f'print("{own}")',
            'print("[date] torch.distributed.elastic.api: [ERROR] failed")',
            'print("more")',
            'exit(1)',
        )


def test_a_training_outlives_who_started_it(tmp_path):
    """Its lock is its own, and ends with it."""
    code = (
        'import sys; from pathlib import Path\n'
        'from mmpose_lossplus.experiments.files import lock\n'
        'with lock(Path(sys.argv[1])): print("held", flush=True), input()\n'
    )
    child = subprocess.Popen(
        [sys.executable, '-c', code, str(tmp_path / LOCK)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert child.stdout.readline() == b'held\n'

    def hold(match):
        with pytest.raises(SystemExit, match=match), trainings.hold(tmp_path):
            pass

    hold(f'in use by process {child.pid} ')
    child.kill()
    child.wait()
    with trainings.hold(tmp_path):
        hold(f'in use by process {os.getpid()} ')
        # A training may be started in it.
        with lock(tmp_path / LOCK):
            pass


@pytest.mark.parametrize(
    ('args', 'expected'),
    [
        (['none'], f'{sys.executable} train.py'),
        (
            ['pytorch'],
            f'{sys.executable} -m torch.distributed.run --standalone '
            '--nproc_per_node 2 train.py',
        ),
        (
            ['slurm', '-p gpu --gres=gpu:4'],
            'srun --ntasks 2 --kill-on-bad-exit=1 -p gpu --gres=gpu:4 '
            f'{sys.executable} train.py',
        ),
    ],
)
def test_launchers(step, args, expected):
    launcher, srun_args = (*args, '')[:2]
    args = SimpleNamespace(launcher=launcher, srun_args=srun_args)
    step.script = Path('train.py')
    command = ' '.join(trainings.train_command(step, args, resume=True))
    assert command == (
        f'{expected} c.py --resume --work-dir {step.folder} '
        f'--launcher {launcher} --cfg-options a=1'
    )


def test_where_results_come_from():
    versions = trainings.versions()
    assert versions['mmpose'].startswith('1.')
    assert versions['mmpose_lossplus']
    assert re.fullmatch(r'unknown|[0-9a-f]{40}(\+dirty)?', trainings.commit())
