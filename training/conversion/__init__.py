"""A version as a file for elsewhere: other formats, fewer bits, and what that costs.

`formats` says what there is, `onnx_files` and `keras_files` write it, `running` runs what was
written, `usage` puts beside it what a stranger needs, `exporting` is the use case.
"""
