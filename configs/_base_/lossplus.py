"""The plugin's import, inherited by every config."""

custom_imports = dict(imports=['mmpose_lossplus'], allow_failed_imports=False)
