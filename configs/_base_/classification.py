"""What configs of classification import: the plugin, and its ResNet."""

custom_imports = dict(
    imports=['mmpose_lossplus', 'mmpose_lossplus.backbones.cifar_resnet'],
    allow_failed_imports=False,
)
