"""Uploads of images that may break off and go on: bytes are kept until the image is whole."""
