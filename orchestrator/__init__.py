"""The central orchestrator, in the trusted data centre beside Alice.

`catalogue` keeps images, `datacentres` the slave stacks, `vnf_lcm` deploys and removes, `workflow`
carries operations through crashes, `network` owns circuits, `keys` is Alice's end of the key
stores, `schedule` shares Alice among the Bobs, `cli` is the command `qnfv`.
"""
