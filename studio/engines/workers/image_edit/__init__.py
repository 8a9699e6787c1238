"""The image editor: a front that keeps a queue, and a child that holds the pipeline."""
