"""Scripts in processes of their own: logs, locks, launchers."""

import os
import re
import subprocess
import sys
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


def execute(step, *lines):
    """Run some lines as the script, and see how it ended."""
    step.script.write_text('\n'.join(lines))
    process = trainings.start(step, [sys.executable, str(step.script)])
    process.wait()
    trainings.check(step, process)


@pytest.mark.parametrize('lines', [['print("Killed?")'], [], ['exit(3)']])
def test_an_older_run_does_not_count(step, lines):
    """Exit code 0 is not enough, nor that an older run was done."""
    execute(step, f'print("{DONE}")')
    assert step.ended_well
    with pytest.raises(trainings.StepError, match=str(step.log)):
        execute(step, *lines)
    assert not step.ended_well
    assert DONE in step.log.read_text()


def test_progress_is_that_of_the_newest_run(step):
    assert step.progress() == ''
    line = 'Epoch(train)  [2][ 1/10]  lr: 1e-3  loss: 0.5'
    execute(step, f'print("11/11 - INFO - {line}")', f'print("{DONE}")')
    assert step.progress() == 'Epoch(train) [2][ 1/10] loss: 0.5'
    execute(step, f'print("{DONE}")')
    assert step.progress() == ''


@pytest.mark.parametrize(
    ('own', 'reason'), [('A: no data.', 'A: no data.'), ('', 'No output')]
)
def test_why_a_launched_training_ended(step, own, reason):
    """The script's own words of this run, not the launcher's after them."""
    with pytest.raises(trainings.StepError, match=f'^{reason} .*code 1'):
        execute(
            step,
            f'print("{own}")',
            'print("[date] torch.distributed.elastic.api: failed\\nmore")',
            'exit(1)',
        )


def test_a_training_outlives_who_started_it(tmp_path):
    """Its lock is its own, and ends with it."""
    code = (
        'import sys; from pathlib import Path\n'
        'from mmpose_lossplus.experiments.files import lock\n'
        'with lock(Path(sys.argv[1])): print("held", flush=True), input()\n'
    )
    command = [sys.executable, '-c', code, str(tmp_path / LOCK)]
    pipes = dict(stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    child = subprocess.Popen(command, **pipes)
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


RUN = '-m torch.distributed.run --standalone --nproc_per_node 2 '
SRUN = 'srun --ntasks 2 --kill-on-bad-exit=1 -p gpu --gres=gpu:4 '


@pytest.mark.parametrize(
    ('launcher', 'srun', 'run_module'),
    [('none', '', ''), ('pytorch', '', RUN), ('slurm', SRUN, '')],
)
def test_launchers(step, launcher, srun, run_module):
    args = SimpleNamespace(launcher=launcher, srun_args='-p gpu --gres=gpu:4')
    command = ' '.join(trainings.train_command(step, args, resume=True))
    assert command == (
        f'{srun}{sys.executable} {run_module}{step.script} c.py --resume '
        f'--work-dir {step.folder} --launcher {launcher} --cfg-options a=1'
    )


def test_where_results_come_from():
    assert trainings.versions()['mmpose'].startswith('1.')
    assert re.fullmatch(r'unknown|[0-9a-f]{40}(\+dirty)?', trainings.commit())
