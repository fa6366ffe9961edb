"""The life cycle of VNF instances: deploy, watch, remove.

`lifecycle` is what REST asks, `admission` decides when an operation may begin, `steps` do and undo
the work under the names that users see.
"""
