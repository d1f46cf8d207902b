"""MMPose's own test script with mmpose_lossplus imported."""

from mmpose_lossplus.experiments.host_scripts import run

if __name__ == '__main__':
    run('test.py', 'test_dataloader', 'test_evaluator')
