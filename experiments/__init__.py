"""The paper's figures again: one command each, data, plots, and a table of ours beside theirs.

qnfv experiments fig2 --out fig2
"""
