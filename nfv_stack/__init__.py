"""The NFV stack in slave mode: one remote data centre.

`gateway` answers the central orchestrator, `image_intake` takes sealed images, `vnf_managers` run
VNF instances, `vim` drives the infrastructure below. Others import `nfv_stack.contract` alone.
"""
