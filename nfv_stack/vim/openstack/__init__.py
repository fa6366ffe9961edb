"""The VIM driver for OpenStack: virtual machines, through openstacksdk.

An image becomes usable in Glance only after its whole stream was verified; a server is known by
its metadata; both are journaled, and nothing is removed that this data centre did not make.
"""

from nfv_stack.vim.openstack.driver import OpenStackVim, open_vim

__all__ = ["OpenStackVim", "open_vim"]
