"""MMPose's own train script with mmpose_lossplus imported."""

from mmpose_lossplus.experiments.host_scripts import run

if __name__ == '__main__':
    parts = ('train_dataloader', 'val_dataloader', 'val_evaluator', 'model')
    run('train.py', *parts)
