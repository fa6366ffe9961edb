"""How an image is sealed: one driver a cipher, chosen by the deployment, told by its suite name."""
